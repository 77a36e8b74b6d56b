"""Images from files, PIL images, arrays and tensors are the same pixels; mistakes are one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import View, load_images, read_images, square


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.fixture
def path(array: np.ndarray, tmp_path: Path) -> Path:
    Image.fromarray(array).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def test_every_kind_of_image_gives_the_same_pixels(array: np.ndarray, path: Path) -> None:
    first = np.moveaxis(array, -1, 0)
    floats = torch.from_numpy(first.copy()).float() / 255
    kinds = [
        *(path, str(path), Image.open(path), array, array[None], first, torch.from_numpy(first.copy())),
        *(floats, floats.double(), floats.numpy(), floats[None]),
    ]
    for kind in kinds:
        (batch,) = read_images(kind)
        assert batch.shape == (1, 3, 20, 30) and batch.dtype == torch.float32
        assert torch.equal(batch[0], floats)
    assert [len(batch) for batch in read_images(kinds)] == [1] * len(kinds)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "expected at least one"),
        (3, "got int"),
        ([None], "got NoneType"),
        (np.array(["a"]), "expected an array of floats or uint8"),
        (torch.rand(20, 30, 3), "x.permute"),
        (torch.rand(3, 8, 8) * 9, "expected [0, 1]"),
        ("missing.png", "No such file"),
        (Path("/"), "is a folder"),
    ],
)
def test_mistakes(images: object, message: str) -> None:
    with pytest.raises(UnlogitError) as error:
        read_images(images)  # type: ignore[arg-type]
    assert message in str(error.value) and "\n" not in str(error.value)


def test_load_images(path: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "two.png")
    several = load_images([path, tmp_path / "two.png"])
    assert [tuple(image.shape) for image in several] == [(3, 20, 30), (3, 8, 8)]
    alone = load_images(str(path))
    assert isinstance(alone, torch.Tensor) and alone.shape == (1, 3, 20, 30)
    same = load_images([path, tmp_path / "two.png"], size=16)
    assert isinstance(same, torch.Tensor) and same.shape == (2, 3, 16, 16) and 0 <= same.min() and same.max() <= 1
    with pytest.raises(UnlogitError, match="no path given"):
        load_images([])
    with pytest.raises(BrokenImage):
        load_images(tmp_path / "three.png")


def test_a_square_shrinks_and_never_grows() -> None:
    image = torch.randint(0, 256, (1, 3, 20, 30), dtype=torch.uint8)
    assert torch.equal(square(image, 16), View(16).apply([image[0]]))
    assert torch.equal(square(image, 64), image[..., 5:25].float() / 255)
    assert torch.equal(square(image.float() / 255, 16), square(image, 16))
