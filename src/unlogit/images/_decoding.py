"""From an encoded file's bytes to upright 8-bit RGB."""

from __future__ import annotations

import io
import os
import re
import stat
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError, features
from torch import Tensor

from unlogit.errors import BrokenImage
from unlogit.outside import plain

MAX_PIXELS = 80_000_000
"""Larger images are refused before they are expanded: a small file can claim any size."""
MAX_SCANS = 100
"""Scans of a JPEG: each costs a pass over the whole image, and a small file can hold any number; usual are 10."""
MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
MAX_BYTES = 256 << 20
"""Largest encoded image, in bytes: more than `MAX_PIXELS` take uncompressed, and a sparse file can claim any size."""
PROGRAMS = {"EPS", "WMF"}
"""Formats that are drawn by another program or by the system: not for files from strangers."""
NOT_IMAGES = {"PDF", "MPEG", "HDF5", "BUFR", "GRIB", "IPTC"}
"""Formats that Pillow lists and cannot decode, or that are no images to it."""
UNREADABLE = {".heic", ".heif", ".avif", ".jxl", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"}
"""Suffixes of images, where Pillow has no decoder for them."""
_SNIFFED = 16
"""Bytes by which Pillow recognises a format."""

_least: ContextVar[int | None] = ContextVar("least", default=None)


@contextmanager
def reduced_to(side: int | None) -> Iterator[None]:
    """Within the context, decode each JPEG file at 1/8, 1/4 or 1/2 of its size, the first of these by which neither
    side falls below `side` pixels; at its own size where there is none, and where `side` is None.

    libjpeg reduces before the inverse transform, which saves most of the time. Other formats and arrays stay as they
    are.
    """
    token = _least.set(side)
    try:
        yield
    finally:
        _least.reset(token)


def decode(
    data: bytes | memoryview, name: str, most: int | None = None, formats: Collection[str] | None = None
) -> Tensor:
    """The image in `data` as uint8 RGB, shape (3, H, W).

    The first frame of an animation; turned upright by its EXIF orientation; transparency on white; 16-bit
    greyscale scaled to 8. Raises `BrokenImage`, beginning with `name`, where the data cannot be read, is cut
    short, claims more than `most` pixels (None is `MAX_PIXELS`), or is of none of `formats`, as Pillow names them
    (None is all but `PROGRAMS`).
    """
    with _blamed_on(name):
        if len(data) > MAX_BYTES:
            raise ValueError(_too_large(len(data)))
        if (scans := count_scans(data)) > MAX_SCANS:
            raise ValueError(f"JPEG of {scans:,} scans: at most {MAX_SCANS} are decoded")
        with Image.open(io.BytesIO(data), formats=_formats() if formats is None else list(formats)) as image:
            return upright(image, name, most)


def count_scans(data: bytes | memoryview) -> int:
    """Return the number of scans of a JPEG file, without decoding it; 0 for other files."""
    position, scans = 2, 0
    if bytes(data[:3]) != b"\xff\xd8\xff":
        return 0
    while marker := MARKER.search(data, position):
        kind, position = marker[0][1], marker.end()
        if kind == END_OF_IMAGE:
            break
        scans += kind == START_OF_SCAN
        position += int.from_bytes(data[position : position + 2], "big")  # What the segment holds is no marker.
    return scans


def decode_file(file: Path) -> Tensor:
    """The image in a file, as `decode` gives it, with the same errors."""
    name = plain(str(file))
    try:
        data = read_regular(file)
    except (OSError, ValueError) as error:
        raise BrokenImage(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    return decode(data, name)


def read_regular(file: Path, start: int = 0, size: int | None = None) -> bytes:
    """Return the bytes of a file, or `size` of them from `start` on.

    Raises `ValueError` for more than `MAX_BYTES`, and for what is not a regular file: a pipe would be waited for, and
    a device such as /dev/zero never ends.
    """
    # Looked at first, since only opening a device may already do something; and again, since it may be exchanged.
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError("not a regular file")
    with open(file, "rb", opener=_without_waiting) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        wanted = status.st_size if size is None else size
        if wanted > MAX_BYTES:
            raise ValueError(_too_large(wanted))
        stream.seek(start)
        return stream.read(wanted)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def is_image(file: Path) -> bool:
    """Return whether the content of a regular file is an image that can be decoded; its name does not matter."""
    with file.open("rb") as stream:
        head = stream.read(_SNIFFED)
        # What most files fail: opening each with Pillow takes a hundred times longer.
        if not any(accept is not None and accept(head) is True for accept in map(_accepts, _formats())):
            return False
        stream.seek(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                Image.open(stream, formats=_formats()).close()
        except Exception:  # As broken as the decoder of one of these formats finds it.
            return False
    return True


def suffixes() -> tuple[str, ...]:
    """Return the suffixes of the images that this Pillow decodes, most common first."""
    common = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"]
    registered = {suffix for suffix, kind in Image.registered_extensions().items() if kind in _formats()}
    return (*common, *sorted(registered - set(common)))


def _formats() -> tuple[str, ...]:
    """The formats that are decoded: not kept, since a plug-in for HEIC may register itself at any time."""
    Image.init()
    left_out = PROGRAMS | NOT_IMAGES | (set() if _has_avif() else {"AVIF"})
    return tuple(kind for kind in Image.ID if kind in Image.OPEN and kind not in left_out)


@cache
def _has_avif() -> bool:
    return bool(features.check("avif"))


def _accepts(kind: str) -> Callable[[bytes], bool | str] | None:
    return Image.OPEN[kind][1]


def _too_large(size: int) -> str:
    return f"{size:,} bytes are over the limit of {MAX_BYTES:,}"


def upright(image: Image.Image, name: str, most: int | None = None) -> Tensor:
    """An image that Pillow opened, as `decode` gives it, with the same errors."""
    with _blamed_on(name):
        most = MAX_PIXELS if most is None else most
        if image.width * image.height > most:
            raise ValueError(f"{image.width} x {image.height} is over the {most:,} pixel limit")
        if (least := _least.get()) is not None:
            image.draft(None, (least, least))
        ImageOps.exif_transpose(image, in_place=True)  # A copy would take 320 MB of the largest images.
        return torch.from_numpy(np.array(_rgb(image))).permute(2, 0, 1).contiguous()


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
        raise BrokenImage(f"{name}: cannot identify the image's format") from error
    except Exception as error:  # decoders of foreign bytes raise almost anything: OSError, SyntaxError, struct.error...
        raise BrokenImage(f"{name}: {str(error) or type(error).__name__}") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):  # 16 bits, which Pillow's own conversion would clip at 255
        values = np.asarray(image)
        if values.size and not 0 <= values.min() <= values.max() <= 65535:
            raise ValueError("32-bit pixels have no known range")
        image = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
