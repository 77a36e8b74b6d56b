"""Mirroring between two reconstructions of one representation from different noises.

The paper finds that the logits do not determine which way an object faces: noise mirrors reconstructions (Teterwak et
al. 2021, section 5.3). Mirroring reverses the sign of the part of an image that is odd about the axis and keeps the
rest, so that the cosine between two odd parts is 1 for the same handedness, 0 for unrelated ones and -1 for mirror
images.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.images import check_pixels

Axis = Literal["horizontal", "vertical"]
"""Direction of a flip: left and right, or top and bottom are exchanged."""
SIDE = 8
"""Number of areas per side whose colours are compared. In single pixels, textures that noise moves would dominate."""

UNDONE = 0.5
"""Share of the squared difference of two images that a flip must undo. Without one, half of all pairs whose mean is
symmetric would count, since what noise adds is as near to either handedness (0.50 of 400 such pairs, and 0.00 with it:
tests/metrics/test_mirroring.py)."""


def mirroring(a: Tensor, b: Tensor, axis: Axis) -> Tensor:
    """Return the cosine between the odd parts of two sets of images, N x 3 x H x W in [0, 1] each; N, in [-1, 1]."""
    return F.cosine_similarity(_odd(a, axis), _odd(b, axis))


def flipped(a: Tensor, b: Tensor, axis: Axis) -> Tensor:
    """Return 1 where flipping `a` undoes `UNDONE` or more of its squared difference to `b`, else 0; N.

    It must also bring `a` nearer to `b` than the other flip does.
    """
    coarse_a, coarse_b = _coarse(a), _coarse(b)
    dims: dict[Axis, int] = {"horizontal": 3, "vertical": 2}
    distances = {name: (coarse_a.flip(dim) - coarse_b).square().sum((1, 2, 3)) for name, dim in dims.items()}
    plain = (coarse_a - coarse_b).square().sum((1, 2, 3))
    own = distances.pop(axis)
    (other,) = distances.values()
    return (own < torch.minimum((1 - UNDONE) * plain, other)).float()


def _coarse(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(check_pixels(images), SIDE)


def _odd(images: Tensor, axis: Axis) -> Tensor:
    coarse = _coarse(images)
    return (coarse - coarse.flip(3 if axis == "horizontal" else 2)).flatten(1)
