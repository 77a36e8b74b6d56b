"""Structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.images import check_pixels

WINDOW, SIGMA = 11, 1.5
"""Side and standard deviation of the Gaussian window, in pixels."""
STABILISERS = 0.01**2, 0.03**2


def ssim(originals: Tensor, reconstructions: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004, eq. 13) of colour pictures, N, in [-1, 1]; 1 for equal ones.

    Means over channels and over the places where the whole window lies inside the picture, whose side must be at
    least `WINDOW`.
    """
    a, b = check_pixels(originals), check_pixels(reconstructions)
    steps = torch.arange(WINDOW, dtype=a.dtype, device=a.device) - WINDOW // 2
    line = torch.exp(steps.square() / (-2 * SIGMA**2))
    line = line / line.sum()

    def smooth(images: Tensor) -> Tensor:
        channels = images.shape[1]
        across = F.conv2d(images, line.view(1, 1, 1, -1).expand(channels, -1, -1, -1), groups=channels)
        return F.conv2d(across, line.view(1, 1, -1, 1).expand(channels, -1, -1, -1), groups=channels)

    mean_a, mean_b, aa, bb, ab = smooth(torch.cat([a, b, a * a, b * b, a * b], 1)).chunk(5, 1)
    c1, c2 = STABILISERS
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    variances = (aa - mean_a.square()) + (bb - mean_b.square())
    structure = (2 * (ab - mean_a * mean_b) + c2) / (variances + c2)
    return (luminance * structure).mean((1, 2, 3))
