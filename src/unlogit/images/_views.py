"""How an image of any size becomes a square of the size that is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.errors import UnlogitError

SMALLEST_AREA = 0.5
"""Smallest area of a random crop, as a share of the largest square's."""
MARGIN = 2
"""Side of the square in a reduced image, as a multiple of the view's: with less, resizing it would blur or alias what
the view still shows, by up to 1.3 dB in the upper half of its frequencies; with this, by at most 0.5 dB."""


def square(images: Tensor, most: int) -> Tensor:
    """Return the middle square of images, float in [0, 1], shrunk to `most` pixels where it is larger.

    A smaller square keeps its size, since a classifier enlarges its input itself.

    Args:
        images: uint8, or float in [0, 1]; N x 3 x H x W.
        most: largest side in pixels.
    """
    images = _square(images)
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    return _resize(images, most) if images.shape[-1] > most else images


@dataclass(frozen=True)
class View:
    """The square that is seen of an image.

    Attributes:
        size: side in pixels.
        crop: "centre" resizes the shorter side to `size` and takes the middle; "random" takes a square of
            0.5 to 1.0 times the area of the largest one, anywhere in the image, and resizes it to `size`;
            "shift" moves the centre view by up to an eighth of its side each way, the border mirrored.
        flip: mirror left and right with probability one half.
        reduced: whether large JPEG files may be decoded at 1/2, 1/4 or 1/8 of their size, which is about twice as
            fast for ImageNet's. The square is then still at least twice as large as the view. Pixels differ
            slightly from those of a whole image, and the square may lie up to half a pixel of the view beside the
            other, so that this is for training: evaluation decodes images whole.
    """

    size: int
    crop: Literal["centre", "random", "shift"] = "centre"
    flip: bool = False
    reduced: bool = False

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UnlogitError(f"view size {self.size}: must be at least 1 pixel")
        if self.crop not in ("centre", "random", "shift"):
            raise UnlogitError(f"view crop '{self.crop}': must be one of centre, random, shift")

    @property
    def countable(self) -> bool:
        """Whether an image has one or two (flipped) variants only, whose derived values can then be cached."""
        return self.crop == "centre"

    @property
    def least(self) -> int | None:
        """Smallest side in pixels at which an image may be decoded for this view; None for its own size alone."""
        if not self.reduced:
            return None
        return math.ceil(MARGIN * self.size / (SMALLEST_AREA**0.5 if self.crop == "random" else 1))

    def draw(self, count: int, generator: np.random.Generator) -> Tensor:
        """The chance in `count` views: float64 in [0, 1), shape (count, 4): crop area, crop row, crop column, flip."""
        return torch.from_numpy(generator.random((count, 4)))

    def flips(self, draws: Tensor) -> Tensor:
        """Which images these draws mirror: bool, shape (N,)."""
        return (draws[:, 3] < 0.5) & self.flip

    def apply(self, decoded: Sequence[Tensor], draws: Tensor | None = None) -> Tensor:
        """Views of uint8 images, each 3 x H x W: float N x 3 x size x size in [0, 1].

        `draws` come from `draw`; they may be left out where the view leaves nothing to chance.
        """
        if draws is None and (self.crop != "centre" or self.flip):
            raise UnlogitError(f"{self} without draws: give view.draw(count, generator), or a centred, unflipped view")
        for image in decoded:
            if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
                raise UnlogitError(
                    f"view of an image of {image.dtype}, {tuple(image.shape)}: must be uint8, 3 x H x W; "
                    "for x in [0, 1] give images.to_bytes(x)"
                )
        if not decoded:
            return torch.zeros(0, 3, self.size, self.size)
        if self.crop != "random" and all(p.shape[-2:] == (self.size, self.size) for p in decoded):
            images = torch.stack(list(decoded)).float() / 255
        elif self.crop != "random":
            # One by one, also where shapes are equal: floats of many large images do not stay in the CPU's cache.
            images = torch.cat([self._centre(p[None]) for p in decoded])
        else:
            assert draws is not None  # Checked above.
            images = torch.cat([self._random(p[None], *d) for p, d in zip(decoded, draws[:, :3].tolist(), strict=True)])
        if self.crop == "shift":
            assert draws is not None
            images = self._shifted(images, draws[:, 1:3])
        if draws is not None and self.flip:
            images = torch.where(self.flips(draws).view(-1, 1, 1, 1), images.flip(-1), images)
        return images

    def _centre(self, images: Tensor) -> Tensor:
        # Cropping before resizing gives the same square, and does not resize what is then thrown away.
        return _resize(_square(images).float() / 255, self.size)

    def _random(self, image: Tensor, area: float, row: float, column: float) -> Tensor:
        height, width = image.shape[-2:]
        side = max(1, round(min(height, width) * (SMALLEST_AREA + (1 - SMALLEST_AREA) * area) ** 0.5))
        top, left = int(row * (height - side + 1)), int(column * (width - side + 1))
        return _resize(image[..., top : top + side, left : left + side].float() / 255, self.size)

    def _shifted(self, images: Tensor, draws: Tensor) -> Tensor:
        reach = self.size // 8
        padded = F.pad(images, (reach,) * 4, mode="reflect")
        indices = (draws * (2 * reach + 1)).long().tolist()
        return torch.stack(
            [
                p[:, top : top + self.size, left : left + self.size]
                for p, (top, left) in zip(padded, indices, strict=True)
            ]
        )


def _square(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[..., top : top + side, left : left + side]


def _resize(squares: Tensor, size: int) -> Tensor:
    if squares.shape[-1] == size:
        return squares
    resized = F.interpolate(squares, (size, size), mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp(0, 1)
