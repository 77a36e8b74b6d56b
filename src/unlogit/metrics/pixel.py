"""Distances between pictures and their reconstructions, one value a picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.images import check_pixels


def pixel_error(originals: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean squared error over pixels and channels, N, in [0, 1]; lower is better."""
    check_pixels(originals)
    check_pixels(reconstructions)
    return (originals - reconstructions).square().mean((1, 2, 3))


FLOOR = (1 / 255) ** 2 / 12
"""Mean squared error of rounding to 256 levels: below it, pictures are equal."""


def psnr(originals: Tensor, reconstructions: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in decibels, N; at most 58.9, with the error floored at `FLOOR`."""
    return -10 * pixel_error(originals, reconstructions).clamp(min=FLOOR).log10()


def layout(images: Tensor, size: int = 4) -> Tensor:
    """Coarse colours, N x 3*size*size: area averages, averaged with their mirror image.

    Mirrored, since left and right is something that classifiers are trained to forget.
    """
    coarse = F.adaptive_avg_pool2d(check_pixels(images), size)
    return ((coarse + coarse.flip(3)) / 2).flatten(1)


def layout_error(originals: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean squared difference of the layouts, N, in [0, 1]; lower is better."""
    return (layout(originals) - layout(reconstructions)).square().mean(1)


def layout_cosine(originals: Tensor, reconstructions: Tensor, centre: Tensor) -> Tensor:
    """Cosine between the layouts of picture and reconstruction, less `centre`, the originals' mean; N, in [-1, 1]."""
    return F.cosine_similarity(layout(originals) - centre, layout(reconstructions) - centre)


def layout_top(originals: Tensor, reconstructions: Tensor, centre: Tensor, k: int = 5, among: int = 48) -> Tensor:
    """1 where the own original is among the k nearest by layout cosine of `among` originals, else 0; N.

    Pictures are taken in consecutive groups of `among`; those of an incomplete last group are left out.
    """
    whole = len(originals) // among * among
    a = F.normalize(layout(originals[:whole]) - centre, dim=1).view(-1, among, layout(originals[:1]).shape[1])
    b = F.normalize(layout(reconstructions[:whole]) - centre, dim=1).view_as(a)
    similarity = torch.einsum("gid,gjd->gij", b, a)
    own = similarity.diagonal(dim1=1, dim2=2).unsqueeze(2)
    return ((similarity > own).sum(2) < k).float().flatten()
