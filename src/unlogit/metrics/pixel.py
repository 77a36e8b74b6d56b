"""Distances between images and their reconstructions, one value per image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.errors import UnlogitError
from unlogit.images import check_pixels

FLOOR = (1 / 255) ** 2 / 12
"""Mean squared error of rounding to 256 levels; images that differ by less count as equal."""
WINDOW, SIGMA = 11, 1.5
"""Side and standard deviation of the Gaussian window, in pixels."""
STABILISERS = 0.01**2, 0.03**2


def pixel_error(originals: Tensor, reconstructions: Tensor) -> Tensor:
    """Return the mean squared error over pixels and channels, N, in [0, 1]; lower is better."""
    check_pixels(originals)
    check_pixels(reconstructions)
    return (originals - reconstructions).square().mean((1, 2, 3))


def psnr(originals: Tensor, reconstructions: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in decibels, N; at most 58.9, since the error is clamped to `FLOOR`."""
    return -10 * pixel_error(originals, reconstructions).clamp(min=FLOOR).log10()


def ssim(originals: Tensor, reconstructions: Tensor) -> Tensor:
    """Return the structural similarity (Wang et al. 2004, eq. 13) of colour images, N, in [-1, 1]; 1 for equal ones.

    It is averaged over channels and over the positions of the window inside the image, whose side must be at least
    `WINDOW`. torchmetrics also averages over mirrored borders, and takes seconds to import.
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


def diversity(draws: Tensor) -> Tensor:
    """Return the root mean squared pixel distance between reconstructions from two noises, N, in [0, 1].

    Args:
        draws: reconstructions from D >= 2 noises, D x N x 3 x H x W in [0, 1].
    """
    count = len(draws)
    if count < 2:
        raise UnlogitError(f"diversity of {count} draw: give at least 2, of different noises")
    pairs = [(draws[i] - draws[j]).square().mean((1, 2, 3)).sqrt() for i in range(count) for j in range(i)]
    return torch.stack(pairs).mean(0)


def layout(images: Tensor, size: int = 4) -> Tensor:
    """Return coarse colours, N x 3*size*size: area averages, averaged with their mirror image.

    The average with the mirror image ignores left and right, to which classifiers are trained to be invariant.
    """
    coarse = F.adaptive_avg_pool2d(check_pixels(images), size)
    return ((coarse + coarse.flip(3)) / 2).flatten(1)


def layout_error(originals: Tensor, reconstructions: Tensor) -> Tensor:
    """Return the mean squared difference of the layouts, N, in [0, 1]; lower is better."""
    return (layout(originals) - layout(reconstructions)).square().mean(1)


def layout_cosine(originals: Tensor, reconstructions: Tensor, centre: Tensor) -> Tensor:
    """Return the cosine between the layouts of both, less the originals' mean `centre`; N, in [-1, 1]."""
    return F.cosine_similarity(layout(originals) - centre, layout(reconstructions) - centre)


def layout_top(originals: Tensor, reconstructions: Tensor, centre: Tensor, k: int = 5, among: int = 48) -> Tensor:
    """Return 1 where the own original is among the k nearest by layout cosine of `among` originals, else 0; N.

    Images are taken in consecutive groups of `among`; those of an incomplete last group are left out.
    """
    whole = len(originals) // among * among
    a = F.normalize(layout(originals[:whole]) - centre, dim=1).view(-1, among, layout(originals[:1]).shape[1])
    b = F.normalize(layout(reconstructions[:whole]) - centre, dim=1).view_as(a)
    similarity = torch.einsum("gid,gjd->gij", b, a)
    own = similarity.diagonal(dim1=1, dim2=2).unsqueeze(2)
    return ((similarity > own).sum(2) < k).float().flatten()
