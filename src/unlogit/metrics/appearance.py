"""Low-level appearance of images: brightness, contrast, sharpness and colourfulness, one value per image."""

from __future__ import annotations

import torch
from torch import Tensor

from unlogit.images import check_pixels

FLAT = 1e-3
"""Contrast below which sharpness is undefined: a quarter of a level of 8 bits."""


def luma(images: Tensor) -> Tensor:
    """Return luma, N x H x W in [0, 1], by the weights of Rec. 709 on the pixels as they are stored."""
    weights = torch.tensor([0.2126, 0.7152, 0.0722], device=images.device).view(3, 1, 1)
    return (check_pixels(images) * weights).sum(1)


def brightness(images: Tensor) -> Tensor:
    """Return the mean luma, N, in [0, 1]."""
    return luma(images).mean((1, 2))


def contrast(images: Tensor) -> Tensor:
    """Return the standard deviation of luma over pixels, N, in [0, 0.5]: root mean squared contrast (Peli 1990)."""
    return luma(images).flatten(1).std(1, correction=0)


def sharpness(images: Tensor) -> Tensor:
    """Return the root mean squared difference of neighbouring pixels' luma over the contrast, N.

    Near 0 where everything is smooth, sqrt(2) for white noise, and the same at any contrast.
    """
    y = luma(images)
    steps = (y.diff(dim=1).square().mean((1, 2)) + y.diff(dim=2).square().mean((1, 2))) / 2
    spread = y.flatten(1).std(1, correction=0)
    return torch.where(spread > FLAT, steps.sqrt() / spread.clamp(min=FLAT), 0)


def colourfulness(images: Tensor) -> Tensor:
    """Return the colourfulness M3 of Hasler and Süsstrunk (2003), N, of pixels in [0, 1], not [0, 255]: 0 for greys."""
    r, g, b = check_pixels(images).flatten(2).unbind(1)
    deviation_rg, mean_rg = torch.std_mean(r - g, dim=1, correction=0)
    deviation_yb, mean_yb = torch.std_mean((r + g) / 2 - b, dim=1, correction=0)
    return torch.hypot(deviation_rg, deviation_yb) + 0.3 * torch.hypot(mean_rg, mean_yb)
