"""Reduced decoding of large JPEG files: where it applies, and how close its views are to those of whole images."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor

from unlogit import photos
from unlogit.errors import BrokenImage
from unlogit.images import ImageSource, Loader, View, _decoding, open_images
from unlogit.images._decoding import decode, reduced_to

SIZE = 32
COUNT = 8


def encoded(index: int, kind: str = "JPEG", side: int = 375) -> bytes:
    """A sample photo as ImageNet's are, 500 x 375 px for that side, as JPEG of quality 90."""
    stream = io.BytesIO()
    with Image.open(sorted(photos.paths())[index]) as image:
        width, height = image.size
        square = image.convert("RGB").crop((0, 0, width, min(height, width * 3 // 4)))
        square.resize((side * 4 // 3, side), Image.Resampling.BICUBIC).save(stream, kind, quality=90)
    return stream.getvalue()


def write(folder: Path, kind: str, side: int = 375) -> str:
    """Write the photos and return the spec that opens them."""
    images = [encoded(index, side=side) for index in range(COUNT)]
    if kind == "parquet":
        table = pa.table({"image": [{"bytes": data} for data in images], "label": list(range(COUNT))})
        pq.write_table(table, folder / "a.parquet")
        return f"parquet:{folder}/a.parquet"
    with tarfile.open(folder / "a.tar", "w") as shard:
        for index, data in enumerate(images):
            (folder / f"{index}.jpg").write_bytes(data)
            member = tarfile.TarInfo(f"{index}.jpg")
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return f"folder:{folder}" if kind == "folder" else f"webdataset:{folder}/a.tar?index={folder}/index"


@pytest.fixture(params=["folder", "webdataset", "parquet"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> ImageSource:
    return open_images(write(tmp_path, request.param))


def batch(source: ImageSource, crop: str, reduced: bool) -> Tensor:
    return Loader(source, View(SIZE, crop, crop != "centre", reduced), COUNT, seed=0).batch(0).images


@pytest.mark.parametrize("crop", ["centre", "shift", "random"])
def test_training_batches_of_every_source_are_reduced(source: ImageSource, crop: str) -> None:
    exact, reduced = (batch(source, crop, which) for which in (False, True))
    assert not torch.equal(exact, reduced) and torch.equal(reduced, batch(source, crop, True))


@pytest.mark.parametrize("crop", ["centre", "shift"])
def test_pixels_are_close_to_those_of_whole_images(crop: str, tmp_path: Path) -> None:
    # The square of 512 x 384 px begins at a whole pixel of the reduced image, so that it is the same.
    source = open_images(write(tmp_path, "folder", 384))
    difference = (batch(source, crop, False) - batch(source, crop, True)).abs() * 255
    assert difference.mean() < 0.5 and difference.mean((1, 2, 3)).max() < 1


@pytest.mark.parametrize(("side", "crop"), [(384, "random"), (375, "centre"), (375, "random")])
def test_squares_move_by_less_than_half_a_pixel_of_the_view(side: int, crop: str, tmp_path: Path) -> None:
    source = open_images(write(tmp_path, "folder", side))
    exact, reduced = (batch(source, crop, which) for which in (False, True))
    by_one_pixel = (exact.diff(dim=-1).abs().mean((1, 2, 3)) + exact.diff(dim=-2).abs().mean((1, 2, 3))) / 2
    difference = (exact - reduced).abs().mean((1, 2, 3))
    assert (difference < 0.5 * by_one_pixel).all() and difference.mean() < 0.3 * by_one_pixel.mean()


@pytest.mark.parametrize("crop", ["centre", "shift", "random"])
@pytest.mark.parametrize("side", [60, 64, 90, 91, 128, 255, 375, 800])
def test_the_square_is_never_less_than_twice_the_view(side: int, crop: str) -> None:
    view = View(SIZE, crop, reduced=True)  # type: ignore[arg-type]
    data = encoded(0, side=side)
    with reduced_to(view.least):
        height, width = decode(data, "image").shape[1:]
    smallest = min(height, width) * (0.5**0.5 if crop == "random" else 1)
    assert (height, width) == decode(data, "image").shape[1:] or smallest >= 2 * SIZE
    if side >= 4 * SIZE / 0.7:
        assert height <= (side + 1) // 2  # It is reduced where it can be.


def test_evaluation_and_everything_outside_of_a_training_batch_decode_images_whole(source: ImageSource) -> None:
    reduced, exact = (Loader(source, View(SIZE, reduced=which), COUNT, seed=0) for which in (True, False))
    reduced.batch(0)
    assert torch.equal(next(iter(reduced.once())).images, next(iter(exact.once())).images)
    assert source.decode(0).shape == (3, 375, 500)
    with pytest.raises(RuntimeError), reduced_to(64):
        raise RuntimeError
    assert source.decode(0).shape == (3, 375, 500)


def test_upright_images_of_other_formats_and_modes() -> None:
    with reduced_to(64):
        assert decode(encoded(0, "PNG"), "image").shape == (3, 375, 500)
        for mode in ("L", "CMYK"):
            stream = io.BytesIO()
            Image.new(mode, (400, 200), 128 if mode == "L" else (0, 0, 0, 127)).save(stream, "JPEG")
            image = decode(stream.getvalue(), "image")
            assert image.shape == (3, 100, 200) and (image.int() - 128).abs().max() <= 2
        exif = Image.Exif()
        exif[0x0112] = 6
        stream = io.BytesIO()
        Image.new("RGB", (400, 200)).save(stream, "JPEG", exif=exif)
        assert decode(stream.getvalue(), "image").shape == (3, 200, 100)


def test_limits_hold_for_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_decoding, "MAX_PIXELS", 500 * 375 - 1)
    with reduced_to(64), pytest.raises(BrokenImage, match="500 x 375 is over"):
        decode(encoded(0), "image")
