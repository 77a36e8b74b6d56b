import io
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import open_images
from unlogit.images import webdataset as module


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def image(red: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (6, 5), (red, 255 - red, 7)).save(stream, kind)
    return stream.getvalue()


def shard(path, files: dict[str, bytes | str], mode: str = "w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return f"webdataset:{path}"


def reds(source) -> list[int]:
    return [int(source.decode(i)[0, 0, 0]) for i in range(len(source))]


def test_shards_in_their_order(tmp_path):
    for number in range(3):
        files = {}
        for i in range(4):
            files |= {f"{number}{i}.png": image(40 * number + 10 * i), f"{number}{i}.cls": str(i % 2)}
        shard(tmp_path / f"s-{number:03}.tar", files)
    source = open_images(f"webdataset:{tmp_path}/s-{{000..002}}.tar")
    assert reds(source) == list(range(0, 120, 10)) and source.labels.tolist() == [0, 1] * 6
    assert int(source.decode(11)[0, 0, 0]) == 110 and source.class_names == ("0", "1")
    assert reds(open_images(f"webdataset:{tmp_path}/*.tar")) == reds(source)
    assert reds(open_images(f"webdataset:{tmp_path}/s-{{002,000}}.tar")) == reds(source)[8:] + reds(source)[:4]


def test_what_the_webdataset_package_writes_is_read(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as sink:
        for i in range(5):
            pixels = image(40 * i)
            sink.write({"__key__": f"deep/{i:05}", "png": pixels, "cls": i % 3, "json": {"label": i}})
    source = open_images(f"webdataset:{tmp_path}/a.tar")
    theirs = [sample["__key__"] for sample in webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False)]
    assert len(source) == len(theirs) == 5
    assert reds(source) == [0, 40, 80, 120, 160] and source.labels.tolist() == [0, 1, 2, 0, 1]
    assert open_images(f"webdataset:{tmp_path}/a.tar?label=label").labels.tolist() == [0, 1, 2, 3, 4]


def test_kinds_of_images_and_of_labels(tmp_path):
    files = {
        "a.jpg": image(10, "JPEG"),
        "a.json": '{"label": 3, "kind": "dog"}',
        "a.txt": "a dog",
        "b.seg.png": image(99),  # not an image of this key: what stands after the first dot is its kind
        "b.webp": image(20, "WEBP"),
        "b.json": '{"label": null, "kind": "cat"}',
        "b.txt": "a cat",
        "c.txt": "no image",
        "d.PNG": image(30),
        "d.json": "not json",
        "e.png": image(40),
    }
    spec = shard(tmp_path / "a.tar", files)
    source = open_images(spec)
    assert len(source) == 4 and source.labels.tolist() == [3, -1, -1, -1]
    source = open_images(f"{spec}?label=kind")
    assert source.labels.tolist() == [1, 0, -1, -1] and source.class_names == ("cat", "dog")
    source = open_images(f"{spec}?label=txt")
    assert source.labels.tolist() == [1, 0, -1, -1] and source.class_names == ("a cat", "a dog")
    with pytest.raises(UnlogitError, match="no image has a 'lable', neither as a file nor"):
        open_images(f"{spec}?label=lable")
    plain = open_images(shard(tmp_path / "b.tar", {"a.png": image(1)}))
    assert plain.labels.tolist() == [-1] and plain.class_names == ()


def test_class_names_from_a_file(tmp_path):
    spec = shard(tmp_path / "a.tar", {"a.png": image(1), "a.cls": "1"})
    (tmp_path / "names.txt").write_text("tench, Tinca tinca\ngoldfish\nshark\n")
    source = open_images(f"{spec}?classes={tmp_path}/names.txt")
    assert source.class_names == ("tench, Tinca tinca", "goldfish", "shark") and source.labels.tolist() == [1]
    (tmp_path / "names.txt").write_text("tench\n")
    with pytest.raises(UnlogitError, match="has a label 1, but only 1 classes are named"):
        open_images(f"{spec}?classes={tmp_path}/names.txt")
    with pytest.raises(UnlogitError, match="option 'classes=.*absent' of .*No such file"):
        open_images(f"{spec}?classes={tmp_path}/absent")


def test_a_shard_is_read_through_once(tmp_path, monkeypatch):
    spec = shard(tmp_path / "a.tar", {"a.png": image(10), "a.cls": "0"}) + f"?index={tmp_path}/index"
    calls = []
    read = module._read_through
    monkeypatch.setattr(module, "_read_through", lambda *args: calls.append(args) or read(*args))
    assert [reds(open_images(spec)) for _ in range(3)] == [[10]] * 3 and len(calls) == 1
    (kept,) = (tmp_path / "index").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])  # as of something that was killed
    assert reds(open_images(spec)) == [10] and len(calls) == 2
    shard(tmp_path / "a.tar", {"a.png": image(20), "a.cls": "1", "b.png": image(30)})
    os.utime(tmp_path / "a.tar", (1, 1))
    assert reds(open_images(spec)) == [20, 30] and len(calls) == 3
    open_images(f"{spec}&label=cls")
    assert len(calls) == 4


def test_an_index_that_cannot_be_kept(tmp_path):
    (tmp_path / "file").touch()
    spec = shard(tmp_path / "a.tar", {"a.png": image(10)})
    with pytest.raises(UnlogitError, match="index '.*' cannot be written .*index=FOLDER"):
        open_images(f"{spec}?index={tmp_path}/file")


def test_the_fingerprint_follows_the_images(tmp_path):
    prints = set()
    for red, label in ((10, "0"), (20, "0"), (10, "1")):
        spec = shard(tmp_path / "a.tar", {"a.png": image(red), "a.cls": label})
        os.utime(tmp_path / "a.tar", (red, int(label)))
        prints.add(open_images(spec).fingerprint())
    assert len(prints) == 3


def test_damaged_shards(tmp_path):
    noise = Image.effect_noise((64, 64), 80)
    stream = io.BytesIO()
    noise.save(stream, "PNG")
    spec = shard(tmp_path / "a.tar", {"a.png": stream.getvalue()})
    source = open_images(spec)
    os.truncate(tmp_path / "a.tar", 1_000)
    with pytest.raises(BrokenImage, match=r"a\.tar/a\.png: "):
        source.decode(0)
    with pytest.raises(UnlogitError, match=r"a\.tar: not a readable plain tar file"):
        open_images(spec)
    (tmp_path / "a.tar").unlink()
    with pytest.raises(BrokenImage, match=r"a\.tar/a\.png: No such file"):
        source.decode(0)
    with pytest.raises(UnlogitError, match="is it complete, and not compressed"):
        open_images(shard(tmp_path / "b.tar.gz", {"a.png": image(1)}, "w:gz"))


def test_shards_elsewhere():
    with pytest.raises(UnlogitError, match="shards must be local files"):
        open_images("webdataset:https://example.org/{0..9}.tar")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("{8..10}", ["8", "9", "10"]),
        ("{08..10}", ["08", "09", "10"]),
        ("{0..1}{x,y}", ["0x", "0y", "1x", "1y"]),
        ("{a}", ["{a}"]),
    ],
)
def test_braces(pattern, expected):
    assert list(module._braces(pattern)) == expected


@given(st.integers(0, 2_000), st.integers(0, 40), st.integers(0, 6))
def test_ranges_count_as_a_shell_does(first, more, width):
    names = list(module._braces(f"s-{{{first:0{width}}..{first + more:0{width}}}}.tar"))
    assert names == [f"s-{number:0{width}}.tar" for number in range(first, first + more + 1)]
