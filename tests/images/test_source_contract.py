"""What every registered source of images must keep, on a tiny example of each that is made here."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from unlogit import registry
from unlogit.errors import UnlogitError
from unlogit.images import BrokenImage, ImageSource, Loader, View, check_pixels, open_images, summary

LABELS = [0, 1, 1, 0, 1]
"""Of the images of every example but rendered ones; image i is filled with `colour(i)`."""


@dataclass(frozen=True)
class Example:
    """A source and mistakes in opening it.

    Attributes:
        spec: opens five images of the classes LABELS, or, for `scenes`, rendered ones.
        class_names: what their classes are called.
        mistakes: for an unknown option, something missing, and nothing in it: a spec, and what its error must say.
        broken: the place of an image that cannot be decoded, where the source can hold such.
    """

    spec: str
    class_names: tuple[str, ...]
    mistakes: dict[str, tuple[str, str]]
    broken: tuple[str, int] | None = None


def colour(index: int) -> tuple[int, int, int]:
    return (40 * index + 10, 40 * index + 10, 40 * index + 10)  # grey, which every format holds


def png(index: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (28, 28), colour(index)).save(stream, "PNG")
    return stream.getvalue()


IMAGES = [png(index) for index in range(len(LABELS))]
ONE_BROKEN = [IMAGES[0], b"junk", *IMAGES[2:]]


def folder(root: Path) -> Example:
    for name, images in (("good", IMAGES), ("broken", ONE_BROKEN)):
        # One folder a class, so in the order of the classes.
        for index, (label, data) in enumerate(zip(sorted(LABELS), images, strict=True)):
            file = root / name / "ab"[label] / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    (root / "empty").mkdir()
    return Example(
        f"folder:{root}/good",
        ("a", "b"),
        {
            "option": (f"folder:{root}/good?size=3", "is not a folder"),
            "missing": (f"folder:{root}/absent", "is not a folder; write it as folder:PATH"),
            "empty": (f"folder:{root}/empty", "holds no images"),
        },
        (f"folder:{root}/broken", 1),
    )


def parquet(root: Path) -> Example:
    root.mkdir(parents=True, exist_ok=True)
    for name, images in (("good", IMAGES), ("broken", ONE_BROKEN), ("empty", [])):
        columns = [pa.array(images, pa.binary()), pa.array(LABELS[: len(images)], pa.int64())]
        pq.write_table(pa.table(columns, names=["image", "label"]), root / f"{name}.parquet")
    return Example(
        f"parquet:{root}/good.parquet",
        ("0", "1"),
        {
            "option": (
                f"parquet:{root}/good.parquet?imge=x",
                "must be one of first, image, label, skip. Did you mean 'image'",
            ),
            "missing": (f"parquet:{root}/absent.parquet", "no file matches"),
            "empty": (f"parquet:{root}/empty.parquet", "hold no rows"),
        },
        (f"parquet:{root}/broken.parquet", 1),
    )


def scenes(_root: Path) -> Example:
    from unlogit.images._shapes import SHAPES

    return Example(
        "scenes:test,count=5",
        tuple(shape.name for shape in SHAPES),
        {
            "option": ("scenes:sise=32", "must be one of count, seed, size. Did you mean 'size'"),
            "missing": ("scenes:tset", "must be one of test, train, val"),
            "empty": ("scenes:count=0", "must be at least 1"),
        },
    )


def torchvision(root: Path) -> Example:
    from torchvision.datasets import MNIST

    pixels = np.stack([np.full((28, 28), colour(index)[0], np.uint8) for index in range(len(LABELS))])
    write_mnist(root, pixels, LABELS)
    (root / "food-101" / "images").mkdir(parents=True)
    (root / "food-101" / "meta").mkdir()
    (root / "food-101" / "meta" / "train.json").write_text("{}")
    return Example(
        f"torchvision:MNIST?root={root}&split=test",
        tuple(MNIST.classes),
        {
            "option": ("torchvision:MNIST?spilt=test", "must be one of root, split. Did you mean 'split'"),
            "missing": (f"torchvision:ImageNet?root={root}/absent", "give its folder as root=FOLDER"),
            "empty": (f"torchvision:Food101?root={root}", "holds no images"),
        },
    )


def write_mnist(root: Path, pixels: np.ndarray, labels: list[int]) -> None:
    """In the format of the set's own files: a magic number, the sizes, and the bytes."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        head = struct.pack(">IIII", 0x803, len(pixels), 28, 28)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, len(labels)) + bytes(labels))


def hf(root: Path) -> Example:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"photo": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    (root / "empty").mkdir(parents=True)
    for name, images in (("good", IMAGES), ("broken", ONE_BROKEN)):
        rows = {"photo": [{"bytes": data, "path": None} for data in images], "label": LABELS}
        datasets.Dataset.from_dict(rows, features).save_to_disk(root / name)
    return Example(
        f"hf:{root}/good",
        ("cat", "dog"),
        {
            "option": (f"hf:{root}/good?colum=photo", "must be one of .*column.*Did you mean 'column'"),
            "missing": (
                f"hf:{root} absent",
                r"neither a local folder nor a dataset of the Hub.* hf:OWNER/NAME or hf:FOLDER",
            ),
            "empty": (f"hf:{root}/empty", "cannot be opened .*doesn't contain any data files"),
        },
        (f"hf:{root}/broken", 1),
    )


def webdataset(root: Path) -> Example:
    root.mkdir(parents=True, exist_ok=True)
    for name, images in (("good", IMAGES), ("broken", ONE_BROKEN), ("empty", [])):
        with tarfile.open(root / f"{name}.tar", "w") as tar:
            for index, data in enumerate(images):
                for kind, content in (("png", data), ("cls", str(LABELS[index]).encode())):
                    member = tarfile.TarInfo(f"{index:04}.{kind}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    option = f"?index={root}/index"
    return Example(
        f"webdataset:{root}/good.tar{option}",
        ("0", "1"),
        {
            "option": (f"webdataset:{root}/good.tar?lable=cls", "must be one of .*Did you mean 'label'"),
            "missing": (f"webdataset:{root}/{{00..03}}.tar", "no file matches .*00.tar'; write it as webdataset:"),
            "empty": (f"webdataset:{root}/empty.tar{option}", "hold no images"),
        },
        (f"webdataset:{root}/broken.tar{option}", 1),
    )


EXAMPLES: dict[str, Callable[[Path], Example]] = {
    make.__name__: make for make in (folder, parquet, scenes, torchvision, hf, webdataset)
}
SOURCES = registry.names("unlogit.images")


@pytest.fixture(scope="module")
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Example:
    name: str = request.param
    if name not in EXAMPLES:
        pytest.fail(f"src/unlogit/images/{name}.py has no example here: add a function '{name}' to EXAMPLES")
    return EXAMPLES[name](tmp_path_factory.mktemp("images") / name)


every_source = pytest.mark.parametrize("example", SOURCES, indirect=True)


def test_no_example_is_left_over() -> None:
    assert set(EXAMPLES) <= set(SOURCES)


@every_source
def test_what_a_source_is(example: Example) -> None:
    source = open_images(example.spec)
    assert isinstance(source, ImageSource) and source.spec == example.spec
    assert len(source) == 5
    assert source.class_names == example.class_names
    labels = source.labels
    assert labels.dtype == torch.int64 and labels.shape == (5,)
    for index in range(5):
        image = source.decode(index)
        assert image.dtype == torch.uint8 and image.ndim == 3 and image.shape[0] == 3
        assert image.is_contiguous()
    if not example.spec.startswith("scenes:"):
        assert labels.tolist() == (sorted(LABELS) if example.spec.startswith("folder:") else LABELS)
        shades = [source.decode(index)[:, 5, 5].tolist() for index in range(5)]
        assert shades == [list(colour(index)) for index in range(5)]


@every_source
def test_a_batch(example: Example) -> None:
    source = open_images(example.spec)
    batch = Loader(source, View(16, flip=True), 8, seed=1).batch(0)
    assert check_pixels(batch.images).shape == (8, 3, 16, 16)
    assert batch.images.dtype == torch.float32 and batch.images.std() > 0.05
    assert set(batch.indices.tolist()) == set(range(5))
    assert torch.equal(batch.labels, source.labels[batch.indices])


@every_source
def test_reading_again_gives_the_same(example: Example) -> None:
    first, again = open_images(example.spec), open_images(example.spec)
    assert first.fingerprint() == again.fingerprint() == first.fingerprint()
    for one, two in zip(first.read([4, 0, 2]), again.read([4, 0, 2]), strict=True):
        assert isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor) and torch.equal(one, two)
    assert torch.equal(first.decode(4), again.read([4])[0])
    assert torch.equal(first.labels, again.labels) and first.class_names == again.class_names


@every_source
@pytest.mark.parametrize("mistake", ["option", "missing", "empty"])
def test_mistakes_are_told_in_one_line(example: Example, mistake: str) -> None:
    spec, message = example.mistakes[mistake]
    with pytest.raises(UnlogitError, match=message) as told:
        open_images(spec)
    assert "\n" not in str(told.value) and spec.partition(":")[0] in str(told.value)


@every_source
def test_a_broken_image_is_skipped_and_counted(example: Example) -> None:
    if example.broken is None:
        pytest.skip("nothing in it can be broken")
    spec, position = example.broken
    source = open_images(spec)
    with pytest.raises(BrokenImage, match=r"cannot identify the image's format"):
        source.decode(position)
    assert isinstance(source.read([position])[0], BrokenImage)
    seen = torch.cat([batch.indices for batch in Loader(source, View(8), 5, seed=0).once()])
    assert seen.tolist() == [index for index in range(5) if index != position]
    assert list(source.broken.reasons) == [position]
    with pytest.raises(UnlogitError, match="cannot identify.*--strict"):
        next(Loader(open_images(spec, strict=True), View(8), 5, seed=0).once())
    assert source.fingerprint() != open_images(example.spec).fingerprint()


@every_source
def test_a_summary(example: Example) -> None:
    lines = summary(open_images(example.spec)).splitlines()
    assert lines[0] == "5 images"
    assert lines[1].startswith(f"{len(example.class_names)} classes: {example.class_names[0]} ")
    assert lines[-1].startswith("5 of 5 decoded: ")
