"""Files that a source does not take are counted by reason; what can be read is."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from PIL import Image, features

from unlogit import cli
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, open_images, summary


def encoded(red: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (6, 5), (red, 0, 0)).save(stream, kind)
    return stream.getvalue()


def save(path: Path, red: int = 10, kind: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(red, kind))


def left_out(source: ImageSource) -> dict[str, int]:
    found = source.inventory
    assert found.seen == found.taken + sum(found.left_out.values()) and set(found.examples) == set(found.left_out)
    return dict(found.left_out)


def test_a_folder_counts_what_it_leaves_out(tmp_path: Path) -> None:
    for name in ("cat/a.png", "cat/.hidden.png", ".git/b.png", "dog/c.png"):
        save(tmp_path / name)
    for name in ("cat/d.heic", "cat/e.txt", "README.md", "cat/LICENSE"):
        (tmp_path / name).write_text("no image")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    (tmp_path / "cat" / "zero.png").symlink_to("/dev/zero")
    source = open_images(f"folder:{tmp_path}")
    assert len(source) == 2 and source.inventory.taken == 2
    assert left_out(source) == {
        "hidden": 2,
        "in a format that Pillow does not decode here (.heic)": 1,
        "not an image (.txt)": 1,
        "not an image (.md)": 1,
        "not an image (no suffix, and not by content)": 1,
        "not a regular file": 2,
    }
    lines = summary(source).splitlines()
    assert any(line.startswith("10 files seen, 2 taken; left out: 2 hidden (") for line in lines)


def test_files_without_a_suffix_are_read_by_their_content(tmp_path: Path) -> None:
    save(tmp_path / "photo", 30)
    (tmp_path / "PyTorch notes").write_text("Python and P6, but no image")
    source = open_images(f"folder:{tmp_path}")
    assert len(source) == 1 and int(source.decode(0)[0, 0, 0]) == 30
    assert left_out(source) == {"not an image (no suffix, and not by content)": 1}


def test_linked_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "cats" / "a.png", 40)
    root = tmp_path / "root"
    save(root / "cat" / "own.png", 10)
    (root / "cat" / "more").symlink_to(tmp_path / "elsewhere" / "cats")
    (root / "dog").symlink_to(tmp_path / "elsewhere" / "cats")
    (root / "cat" / "back").symlink_to(root)
    (root / "cat" / "here").symlink_to(root / "cat")
    source = open_images(f"folder:{root}")
    assert source.class_names == ("cat", "dog") and source.labels.tolist() == [0, 0, 1]
    assert left_out(source) == {"folder linked again": 2}


def test_links_that_multiply_do_not(tmp_path: Path) -> None:
    for depth in range(40):
        (tmp_path / "cat" / str(depth)).mkdir(parents=True)
        for way in "ab":
            (tmp_path / "cat" / str(depth) / way).symlink_to(tmp_path / "cat" / str(depth + 1))
    save(tmp_path / "cat" / "39" / "x.png")
    assert len(open_images(f"folder:{tmp_path}")) == 1


def test_numbered_folders_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in range(12):
        save(tmp_path / str(number) / "a.png", 10 * number)
    source = open_images(f"folder:{tmp_path}")
    assert source.class_names == tuple(map(str, range(12)))
    assert [round(int(source.decode(i)[0, 0, 0]) / 10) for i in range(12)] == list(range(12))
    assert "numbered in numerical order" in summary(source)
    save(tmp_path / "extra" / "a.png")
    assert open_images(f"folder:{tmp_path}").class_names[:3] == ("0", "1", "10")
    assert "numbered in alphabetical order" in summary(open_images(f"folder:{tmp_path}"))


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    save(tmp_path / os.fsdecode(b"cat\xff") / os.fsdecode(b"a\xfe.png"))
    source = open_images(f"folder:{tmp_path}")
    assert source.class_names == ("cat\\udcff",) and source.fingerprint() and source.decode(0) is not None
    assert summary(source).encode()


def shard(path: Path, members: list[tuple[str, bytes | tarfile.TarInfo]]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                tar.addfile(content)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return f"webdataset:{path}?index={path.parent}/index"


def link(target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo()
    member.type, member.linkname = kind, target
    return member


def test_a_shard_counts_what_it_leaves_out(tmp_path: Path) -> None:
    spec = shard(
        tmp_path / "a.tar",
        [
            ("._a.png", b"mac"),
            ("a.png", encoded(10)),
            ("._a.cls", b"mac"),
            ("a.cls", b"1"),
            ("a.v2.png", encoded(99)),
            ("b.heic", b"x"),
            ("b.cls", b"0"),
            ("c.png", encoded(30)),
            ("c.jpg", encoded(31)),
            ("c.txt", b"words"),
            ("d.png", link("nowhere.png", tarfile.LNKTYPE)),
            ("pipe.png", link("", tarfile.FIFOTYPE)),
        ],
    )
    expected = {
        "hidden": 2,
        "image with more than one dot in its name": 1,
        "in a format that Pillow does not decode here (.heic)": 1,
        "label without an image": 1,
        "further image of a sample": 1,
        "neither image nor label (.txt)": 1,
        "link to a file that is not in the shard": 1,
        "not a regular file": 1,
    }
    for _ in range(2):  # As it is read, and as it is kept in the index.
        source = open_images(spec)
        assert source.labels.tolist() == [1, -1] and source.inventory.taken == 3
        assert left_out(source) == expected


def test_parts_of_a_sample_may_stand_apart(tmp_path: Path) -> None:
    labels = [(f"{key}.cls", str(label).encode()) for key, label in (("a", 1), ("b", 0))]
    images = [("a.png", encoded(10)), ("b.png", encoded(20))]
    for number, members in enumerate((labels + images, images + labels)):
        source = open_images(shard(tmp_path / f"{number}.tar", members))
        assert source.labels.tolist() == [1, 0] and [int(source.decode(i)[0, 0, 0]) for i in (0, 1)] == [10, 20]
    # Keys that come again are further images.
    twice = open_images(shard(tmp_path / "twice.tar", images + labels + [("a.png", encoded(50)), ("a.cls", b"0")]))
    assert twice.labels.tolist() == [1, 0, 0]


@pytest.mark.parametrize(("kind", "target"), [(tarfile.LNKTYPE, "deep/a.png"), (tarfile.SYMTYPE, "a.png")])
def test_links_in_a_shard_are_followed(tmp_path: Path, kind: bytes, target: str) -> None:
    spec = shard(
        tmp_path / "a.tar", [("deep/a.png", encoded(10)), ("deep/b.png", link(target, kind)), ("deep/b.cls", b"3")]
    )
    source = open_images(spec)
    assert [int(source.decode(i)[0, 0, 0]) for i in (0, 1)] == [10, 10] and source.labels.tolist() == [-1, 3]
    circle = [("a.png", link("b.png", kind)), ("b.png", link("a.png", kind)), ("c.png", encoded(1))]
    assert len(open_images(shard(tmp_path / "b.tar", circle))) == 1


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow cannot write AVIF")
def test_avif(tmp_path: Path) -> None:
    save(tmp_path / "folder" / "a.avif", 200, "AVIF")
    assert abs(int(open_images(f"folder:{tmp_path}/folder").decode(0)[0, 0, 0]) - 200) < 12
    assert len(open_images(shard(tmp_path / "a.tar", [("a.avif", encoded(200, "AVIF"))]))) == 1


def test_a_shard_that_ends_between_members_is_cut_short(tmp_path: Path) -> None:
    spec = shard(tmp_path / "a.tar", [(f"{i}.png", encoded(i)) for i in range(5)])
    with tarfile.open(tmp_path / "a.tar") as tar:
        start = tar.getmembers()[3].offset
    os.truncate(tmp_path / "a.tar", start)
    with pytest.raises(UnlogitError, match=r"a\.tar: not a readable plain tar file \(cut short.*is it complete"):
        open_images(spec)


def test_a_damaged_header_does_not_end_a_shard_in_silence(tmp_path: Path) -> None:
    spec = shard(tmp_path / "a.tar", [(f"{i}.png", encoded(i)) for i in range(5)])
    with tarfile.open(tmp_path / "a.tar") as tar:
        start = tar.getmembers()[3].offset
    content = bytearray((tmp_path / "a.tar").read_bytes())
    content[start + 150] ^= 1
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(UnlogitError, match=f"damaged at byte {start:,}"):
        open_images(spec)


def test_tar_files_that_were_joined_are_counted(tmp_path: Path) -> None:
    first = shard(tmp_path / "a.tar", [("a.png", encoded(1))])
    shard(tmp_path / "b.tar", [("b.png", encoded(2))])
    with (tmp_path / "a.tar").open("ab") as stream:
        stream.write((tmp_path / "b.tar").read_bytes())
    (reason,) = left_out(open_images(first))
    assert reason.startswith("behind the end of the archive")


def test_what_is_left_out_is_reported_by_list_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "b.heic").touch()
    assert cli.main(["list", "images", f"folder:{tmp_path}"]) == 0
    said = capsys.readouterr()
    line = "2 files seen, 1 taken; left out: 1 in a format that Pillow does not decode here (.heic) (b.heic)"
    assert line in said.out.splitlines() and not said.err


def test_what_is_left_out_is_reported_at_the_end_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "b.heic").touch()
    open_images(f"folder:{tmp_path}").broken.warn()
    assert capsys.readouterr().err.startswith(f"unlogit: folder:{tmp_path}: 2 files seen, 1 taken; left out: 1 in a")
