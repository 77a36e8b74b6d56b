"""Resizing of images to the side of a network's input."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


def resized(pixels: Tensor, size: int, mode: str) -> Tensor:
    """Return pixels, N x C x H x W, resized to N x C x size x size, antialiased where they shrink.

    Resizing is linear and separable, so that on a CPU enlarging is a product with a matrix on either side, the same
    within rounding. Torch's kernel takes four times as long for it, forward and backward.
    """
    height, width = pixels.shape[-2:]
    shrinks = size < min(height, width)
    if shrinks or pixels.device.type != "cpu" or not pixels.is_floating_point():
        return F.interpolate(pixels, (size, size), mode=mode, antialias=shrinks, align_corners=False)
    rows, columns = (_matrix(side, size, mode).to(pixels) for side in (height, width))
    with torch.autocast("cpu", enabled=False):  # Pixels stay in full precision.
        return rows @ pixels @ columns.mT


@cache
def _matrix(side: int, size: int, mode: str) -> Tensor:
    """Return the matrix, size x side in float64, that resizes a column of pixels."""
    with torch.inference_mode(False), torch.no_grad():
        basis = torch.eye(side, dtype=torch.float64).view(1, side, side, 1)
        return F.interpolate(basis, (size, 1), mode=mode, align_corners=False).view(side, size).mT.contiguous()
