"""Differentiable augmentation of what the discriminator sees, real and fake alike (DiffAugment, Zhao et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

TRANSLATION = 1 / 8
"""Largest shift, as a share of the side (DiffAugment's value)."""


def translated(images: Tensor, shifts: Tensor) -> Tensor:
    """Shift each image by up to an eighth of its side in either direction, filling with zeros.

    Args:
        images: N x 3 x S x S.
        shifts: N x 2, down and right, uniform in [0, 1), which maps to the whole range of shifts.
    """
    n, _, height, width = images.shape
    reach = round(TRANSLATION * height)
    down, right = (shifts * (2 * reach + 1)).long().T[:, :, None]
    rows = (torch.arange(height, device=images.device) + down)[:, :, None]
    columns = (torch.arange(width, device=images.device) + right)[:, None, :]
    padded = F.pad(images, (reach,) * 4).permute(0, 2, 3, 1)
    image = torch.arange(n, device=images.device)[:, None, None]
    return padded[image, rows, columns].permute(0, 3, 1, 2)
