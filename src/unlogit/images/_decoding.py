"""From an encoded file's bytes to upright 8-bit RGB."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from unlogit.errors import BrokenImage

MAX_PIXELS = 80_000_000
"""Larger pictures are refused before they are expanded: a small file can claim any size."""
MAX_SCANS = 100
"""Scans of a JPEG: each costs a pass over the whole image, and a small file can hold any number; usual are 10."""
MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
PROGRAMS = {"EPS", "WMF"}
"""Formats that are drawn by another program or by the system: not for files from strangers."""


def decode(
    data: bytes | memoryview, name: str, most: int | None = None, formats: Collection[str] | None = None
) -> Tensor:
    """The picture in `data` as uint8 RGB, shape (3, H, W).

    The first frame of an animation; turned upright by its EXIF orientation; transparency on white; 16-bit
    greyscale scaled to 8. Raises `BrokenImage`, beginning with `name`, where the data cannot be read, is cut
    short, claims more than `most` pixels (None is `MAX_PIXELS`), or is of none of `formats`, as Pillow names them
    (None is all but `PROGRAMS`).
    """
    with _blamed_on(name):
        Image.init()
        kinds = [kind for kind in Image.ID if kind not in PROGRAMS] if formats is None else list(formats)
        if (scans := count_scans(data)) > MAX_SCANS:
            raise ValueError(f"JPEG of {scans:,} scans: at most {MAX_SCANS} are decoded")
        with Image.open(io.BytesIO(data), formats=kinds) as picture:
            return upright(picture, name, most)


def count_scans(data: bytes | memoryview) -> int:
    """Return the number of scans of a JPEG file, without decoding it; 0 for other files."""
    position, scans = 2, 0
    if bytes(data[:3]) != b"\xff\xd8\xff":
        return 0
    while found := MARKER.search(data, position):
        kind, position = found[0][1], found.end()
        if kind == END_OF_IMAGE:
            break
        scans += kind == START_OF_SCAN
        position += int.from_bytes(data[position : position + 2], "big")  # What the segment holds is no marker.
    return scans


def decode_file(file: Path) -> Tensor:
    """The picture in a file, as `decode` gives it, with the same errors."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BrokenImage(f"{file}: {error.strerror}") from error
    return decode(data, str(file))


def upright(picture: Image.Image, name: str, most: int | None = None) -> Tensor:
    """A picture that Pillow opened, as `decode` gives it, with the same errors."""
    with _blamed_on(name):
        most = MAX_PIXELS if most is None else most
        if picture.width * picture.height > most:
            raise ValueError(f"{picture.width} x {picture.height} is over the {most:,} pixel limit")
        rgb = _rgb(ImageOps.exif_transpose(picture))
        return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()


@contextmanager
def _blamed_on(name: str) -> Iterator[None]:
    """Any error within as a `BrokenImage` of this name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own warnings: what matters becomes an error
            yield
    except BrokenImage:
        raise
    except UnidentifiedImageError as error:  # whose own words end in an address in memory
        raise BrokenImage(f"{name}: cannot identify the picture's format") from error
    except Exception as error:  # decoders of foreign bytes raise almost anything: OSError, SyntaxError, struct.error...
        raise BrokenImage(f"{name}: {str(error) or type(error).__name__}") from error


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if picture.mode.startswith("I"):  # 16 bits, which Pillow's own conversion would clip at 255
        values = np.asarray(picture)
        if values.size and not 0 <= values.min() <= values.max() <= 65535:
            raise ValueError("32-bit pixels have no known range")
        picture = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")
