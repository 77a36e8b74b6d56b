import io
import sys

import pytest
from PIL import Image

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import open_images

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def png(red: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (6, 5), (red, 255 - red, 7)).save(stream, "PNG")
    return stream.getvalue()


def rows(count: int, **columns):
    """A data set of `count` images, image i of red 10 i, and further (feature, values) columns."""
    features = datasets.Features({"image": datasets.Image()} | {name: kind for name, (kind, _) in columns.items()})
    images = [{"bytes": png(10 * i), "path": None} for i in range(count)]
    return datasets.Dataset.from_dict({"image": images} | {name: v for name, (_, v) in columns.items()}, features)


def reds(source) -> list[int]:
    return [int(source.decode(i)[0, 0, 0]) for i in range(len(source))]


INTS, WORDS = datasets.Value("int64"), datasets.Value("string")


@pytest.mark.parametrize(
    ("kind", "values", "labels", "names"),
    [
        (INTS, [2, None, 0], [2, -1, 0], ("0", "1", "2")),
        (WORDS, ["dog", "cat", "dog"], [1, 0, 1], ("cat", "dog")),
        (datasets.Value("bool"), [True, False, True], [1, 0, 1], ("0", "1")),
        (datasets.ClassLabel(names=["cat", "dog"]), [1, 1, 0], [1, 1, 0], ("cat", "dog")),
        (datasets.ClassLabel(names=["cat", "dog"]), [-1, -1, -1], [-1, -1, -1], ()),
    ],
)
def test_kinds_of_labels(tmp_path, kind, values, labels, names):
    rows(3, label=(kind, values)).save_to_disk(tmp_path / "set")
    source = open_images(f"hf:{tmp_path}/set")
    assert reds(source) == [0, 10, 20]
    assert source.labels.tolist() == labels and source.class_names == names


def test_labels_that_name_no_class(tmp_path):
    rows(2, label=(datasets.Value("float32"), [0.5, 1.0])).save_to_disk(tmp_path / "set")
    with pytest.raises(UnlogitError, match=r"'0.5' names no class; labels must be all whole numbers or all words"):
        open_images(f"hf:{tmp_path}/set")


def test_splits_slices_and_parquet_files(tmp_path):
    for split, count in (("train", 6), ("test", 2)):
        rows(count, label=(INTS, list(range(count)))).to_parquet(tmp_path / "set" / f"{split}.parquet")
    assert reds(open_images(f"hf:{tmp_path}/set")) == [0, 10, 20, 30, 40, 50]
    assert open_images(f"hf:{tmp_path}/set?split=test").labels.tolist() == [0, 1]
    assert reds(open_images(f"hf:{tmp_path}/set?split=train[2:4]")) == [20, 30]
    with pytest.raises(UnlogitError, match=r"Unknown split .val..*test"):
        open_images(f"hf:{tmp_path}/set?split=val")
    saved = datasets.DatasetDict(train=rows(2), test=rows(1))
    saved.save_to_disk(tmp_path / "saved")
    assert len(open_images(f"hf:{tmp_path}/saved?split=test")) == 1
    with pytest.raises(
        UnlogitError, match="unknown split of .*'tset': must be one of test, train. Did you mean 'test'"
    ):
        open_images(f"hf:{tmp_path}/saved?split=tset")


def test_streaming_takes_the_first(tmp_path):
    rows(6, label=(datasets.ClassLabel(names=list("abcdef")), [5, 4, 3, 2, 1, 0])).to_parquet(tmp_path / "a.parquet")
    source = open_images(f"hf:{tmp_path}?streaming=4")
    assert reds(source) == [0, 10, 20, 30] and source.labels.tolist() == [5, 4, 3, 2]
    assert source.class_names == tuple("abcdef")
    assert len(open_images(f"hf:{tmp_path}?streaming=10")) == 6
    for wrong in ("true", "0", "-3"):
        with pytest.raises(UnlogitError, match=f"streaming={wrong}'.*: must be (a whole number|at least 1)"):
            open_images(f"hf:{tmp_path}?streaming={wrong}")


def test_a_folder_of_images(tmp_path):
    for name, data in (("train/cat/a.png", png(10)), ("train/dog/b.png", png(20)), ("train/dog/c.png", b"junk")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    source = open_images(f"hf:{tmp_path}")
    assert source.class_names == ("cat", "dog") and source.labels.tolist() == [0, 1, 1]
    assert int(source.decode(1)[0, 0, 0]) == 20
    with pytest.raises(BrokenImage, match=r"c\.png: cannot identify"):
        source.decode(2)
    (tmp_path / "train/dog/b.png").unlink()
    with pytest.raises(BrokenImage, match=r"b\.png: No such file"):
        source.decode(1)


def test_columns_by_their_types(tmp_path):
    two = rows(2, mask=(datasets.Image(), [{"bytes": png(99), "path": None}] * 2), text=(WORDS, ["a", "b"]))
    two.save_to_disk(tmp_path / "two")
    spec = f"hf:{tmp_path}/two"
    with pytest.raises(UnlogitError, match=r"its images are in image, mask; choose with column=image"):
        open_images(spec)
    source = open_images(f"{spec}?column=mask&label=text")
    assert reds(source) == [99, 99] and source.class_names == ("a", "b")
    assert open_images(f"{spec}?column=image").class_names == ()
    with pytest.raises(
        UnlogitError, match="unknown column of .* 'msak': must be one of image, mask. Did you mean 'mask'"
    ):
        open_images(f"{spec}?column=msak")
    with pytest.raises(UnlogitError, match="unknown column of .* 'kind'"):
        open_images(f"{spec}?column=mask&label=kind")
    kind = datasets.ClassLabel(names=["x", "y"])
    rows(2, coarse=(kind, [0, 1]), fine=(kind, [1, 0])).save_to_disk(tmp_path / "labels")
    with pytest.raises(UnlogitError, match=r"its labels are in coarse, fine; choose with label=coarse"):
        open_images(f"hf:{tmp_path}/labels")
    assert open_images(f"hf:{tmp_path}/labels?label=fine").labels.tolist() == [1, 0]
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "none")
    with pytest.raises(UnlogitError, match="none of its columns text holds images"):
        open_images(f"hf:{tmp_path}/none")


def test_a_missing_image_is_broken(tmp_path):
    holes = datasets.Dataset.from_dict({"image": [None]}, datasets.Features({"image": datasets.Image()}))
    holes.save_to_disk(tmp_path / "holes")
    with pytest.raises(BrokenImage, match="row 0: holds no image"):
        open_images(f"hf:{tmp_path}/holes").decode(0)


def test_no_way_to_the_hub(monkeypatch):
    def unreachable(*_args: object, **_options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)
    with pytest.raises(UnlogitError, match=r"is not a local folder, and the Hub cannot be reached \(OSError\)"):
        open_images("hf:owner/name")


def test_the_package_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UnlogitError, match=r"'hf:owner/name' needs datasets: pip install 'unlogit\[hf\]'"):
        open_images("hf:owner/name")
