"""From an encoded file's bytes to upright 8-bit RGB."""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from unlogit.errors import BrokenImage

MAX_PIXELS = 80_000_000
"""Larger pictures are refused before they are expanded: a small file can claim any size."""


def decode(data: bytes | memoryview, name: str) -> Tensor:
    """The picture in `data` as uint8 RGB, shape (3, H, W).

    The first frame of an animation; turned upright by its EXIF orientation; transparency on white; 16-bit
    greyscale scaled to 8. Raises `BrokenImage`, beginning with `name`, where the data cannot be read, is cut
    short, or claims more than `MAX_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own warnings: what matters becomes an error below
            with Image.open(io.BytesIO(data)) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ValueError(f"{picture.width} x {picture.height} is over the {MAX_PIXELS:,} pixel limit")
                rgb = _rgb(ImageOps.exif_transpose(picture))
    except Exception as error:  # decoders of foreign bytes raise almost anything: OSError, SyntaxError, struct.error...
        raise BrokenImage(f"{name}: {str(error) or type(error).__name__}") from error
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if picture.mode.startswith("I"):  # 16 bits, which Pillow's own conversion would clip at 255
        values = np.asarray(picture).astype(np.int64).clip(0, 65535)
        picture = Image.fromarray(np.round(values / 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")
