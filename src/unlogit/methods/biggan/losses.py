"""Losses: those of D and G in the paper, the layout loss of two deviations, and those of the ablations.

Scores are lists with one tensor per head, and `weights` has one weight per head; the paper has one head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from unlogit.metrics.pixel import FLOOR
from unlogit.metrics.spectrum import power_spectrum

SPECTRAL_FLOOR = FLOOR / 30
"""Constant added to the power; the power of rounding pixels to 8 bits is `FLOOR`."""


def discriminator_loss(
    real: Sequence[Tensor], fake: Sequence[Tensor], weights: Sequence[float] | None = None
) -> Tensor:
    """Return E max(-1, D(fake)) - E min(1, D(real)) (section 3 of the paper), a weighted sum over heads.

    It is the usual hinge, E relu(1 + D(fake)) + E relu(1 - D(real)), less its constant 2: the minimum is -2.
    """
    heads = [f.clamp(min=-1).mean() - r.clamp(max=1).mean() for r, f in zip(real, fake, strict=True)]
    return _weighted(heads, weights)


def generator_loss(fake: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """Return -E D(fake) (section 3 of the paper), a weighted sum over heads."""
    return -_weighted([f.mean() for f in fake], weights)


def _weighted(losses: Sequence[Tensor], weights: Sequence[float] | None) -> Tensor:
    """Return the weighted sum of the heads' losses, or their mean without weights."""
    if weights is None:
        return torch.stack(list(losses)).mean()
    return torch.stack([weight * loss for loss, weight in zip(losses, weights, strict=True)]).sum()


def mirror_average(images: Tensor, side: int = 8) -> Tensor:
    """Return coarse colours, N x 3 x side x side, averaged with their mirror image: classifiers ignore mirroring."""
    coarse = F.adaptive_avg_pool2d(images, side)
    return (coarse + coarse.flip(3)) / 2


def layout_loss(fake: Tensor, real: Tensor) -> Tensor:
    """Return the squared error of the mirror-averaged 8 x 8 colours, pixels in the range [-1, 1]."""
    return F.mse_loss(2 * mirror_average(fake), 2 * mirror_average(real))


def warm_start_loss(fake: Tensor, real: Tensor) -> Tensor:
    """Return the layout loss + 0.3 x absolute error of the half-size image, pixels in the range [-1, 1]."""
    return layout_loss(fake, real) + 0.3 * F.l1_loss(2 * F.avg_pool2d(fake, 2), 2 * F.avg_pool2d(real, 2))


def spectral_loss(fake: Tensor, real: Tensor) -> Tensor:
    """Return the squared difference of the log power spectra of two batches, N x 3 x S x S, averaged.

    Spectra are those of `unlogit.metrics.spectrum`, averaged over images. Patterns to which feature networks are
    insensitive, such as a lattice of dots, are peaks of a spectrum. Not in the paper; compare the
    regularisers of Durall, Keuper and Keuper (CVPR 2020) and Jung and Keuper (AAAI 2021), which use radial spectra.
    """
    of_fake, of_real = ((power_spectrum(images).mean(0) + SPECTRAL_FLOOR).log() for images in (fake, real))
    return F.mse_loss(of_fake, of_real)


def relativistic_loss(
    winner: Sequence[Tensor], loser: Sequence[Tensor], weights: Sequence[float] | None = None
) -> Tensor:
    """Return E softplus(loser - winner): the relativistic pairing loss (Jolicoeur-Martineau 2019; R3GAN, equation 2).

    The discriminator's loss takes (real, fake), the generator's (fake, real), of the same representations in the same
    order. It is a weighted sum over heads.
    """
    heads = [F.softplus(b - a).mean() for a, b in zip(winner, loser, strict=True)]
    return _weighted(heads, weights)


def r1_penalty(score: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Return half the squared gradient of the score at real pixels in the range [-1, 1], a mean over images.

    R1 of Mescheder, Geiger and Nowozin 2018, equation 9; the score of an image is the mean over positions.
    """
    pixels = (2 * real - 1).requires_grad_()
    scores = score((pixels + 1) / 2).float()
    (grad,) = torch.autograd.grad(scores.reshape(len(real), -1).mean(1).sum(), pixels, create_graph=True)
    return grad.square().sum((1, 2, 3)).mean() / 2


def gradient_penalty(
    discriminator: Callable[[Tensor, Tensor], Sequence[Tensor]], real: Tensor, fake: Tensor, representation: Tensor
) -> Tensor:
    """Return (R1 + R2) / 2: half the squared gradient of the score at real and fake images, pixels in [-1, 1].

    Mescheder, Geiger and Nowozin 2018, equation 9, at both, as in R3GAN; a mean over images. The score is the mean over
    heads and positions.
    """
    both = (2 * torch.cat([real, fake.detach()]) - 1).requires_grad_()
    # Fused attention has no second derivative.
    with sdpa_kernel(SDPBackend.MATH):
        heads = discriminator((both + 1) / 2, representation.repeat(2, 1))
        score = torch.stack([s.float().flatten(1).mean(1) if s.ndim > 1 else s.float() for s in heads]).mean(0)
        (grad,) = torch.autograd.grad(score.sum(), both, create_graph=True)
    squares = grad.square().sum((1, 2, 3))
    return squares.view(2, -1).mean(1).sum() / 2
