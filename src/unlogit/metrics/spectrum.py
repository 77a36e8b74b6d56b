"""Power spectra of images: detail of reconstructions relative to originals, and periodic artefacts.

Power is per pixel: white noise of variance v has power v at every spatial frequency. Excess is the power of
reconstructions over that of originals in decibels; 0 dB is equal power, 3 dB about twice as much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unlogit.metrics.pixel import FLOOR
from unlogit.statistics import Estimate, weighted_bootstrap

LOBE = 2
"""Bins around frequency 0 that the main lobe of the Hann window covers: they hold the image's mean, not detail."""


def power_spectrum(images: Tensor) -> Tensor:
    """Return the power of images in [0, 1], N x 3 x S x S, at each spatial frequency: N x S x (S // 2 + 1).

    The periodogram of the image less its mean under a Hann window, a mean over channels. Rows are the vertical
    frequencies in the order of `torch.fft.fftfreq`, columns the horizontal ones from 0 up; the other half of the plane
    is its mirror image. Differentiable.
    """
    side = images.shape[-1]
    window = torch.hann_window(side, periodic=False, device=images.device)
    window = window[:, None] * window
    pixels = images.float()
    centred = pixels - pixels.mean((2, 3), keepdim=True)
    return torch.fft.rfft2(centred * window).abs().square().mean(1) / window.square().sum()


def radii(side: int) -> Tensor:
    """Return the spatial frequency of every bin of `power_spectrum` in cycles per pixel, S x (S // 2 + 1)."""
    return torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None])


def octaves(side: int) -> list[tuple[float, float]]:
    """Return bands of spatial frequency in cycles per pixel, (low, high), the highest first: 0.25 to 0.5 and downwards.

    As many as lie above the window's main lobe.
    """
    bands = [(0.5 / 2 ** (n + 1), 0.5 / 2**n) for n in range(side.bit_length())]
    return [band for band in bands if band[0] * side >= LOBE]


def band_power(power: Tensor, bands: list[tuple[float, float]]) -> Tensor:
    """Return the mean power in radial bands (low, high], N x B, of spectra N x S x (S // 2 + 1)."""
    side = power.shape[1]
    radius = radii(side)
    # All columns but the first, and the last of an even side, stand for two frequencies.
    counted = torch.full_like(radius, 2)
    counted[:, 0] = 1
    if side % 2 == 0:
        counted[:, -1] = 1
    inside = torch.stack([counted * (low < radius) * (radius <= high) for low, high in bands]).flatten(1).to(power)
    return power.flatten(1) @ (inside / inside.sum(1, keepdim=True)).T


def decibels(power: Tensor, reference: Tensor) -> Tensor:
    """Return the excess of a power over another; that of rounding to 8 bits is added to both, against 0 / 0."""
    return 10 * ((power + FLOOR) / (reference + FLOOR)).log10()


def octave_excess(originals: Tensor, reconstructions: Tensor, seed: int = 0) -> dict[tuple[float, float], Estimate]:
    """Return `band_excess` of the octaves, the highest first."""
    return band_excess(originals, reconstructions, octaves(originals.shape[1]), seed)


def band_excess(
    originals: Tensor, reconstructions: Tensor, bands: list[tuple[float, float]], seed: int = 0
) -> dict[tuple[float, float], Estimate]:
    """Return the excess by band in decibels, from spectra N x S x (S // 2 + 1) of the same N images."""
    a, b = (band_power(power, bands).double() for power in (originals, reconstructions))
    return {
        band: weighted_bootstrap(lambda w, i=i: decibels(w @ b[:, i], w @ a[:, i]), len(a), seed)  # type: ignore[misc]
        for i, band in enumerate(bands)
    }


@dataclass(frozen=True)
class Peak:
    """The spatial frequency at which reconstructions exceed originals most.

    Attributes:
        excess: in decibels.
        vertical, horizontal: the frequency in cycles per pixel; vertical in [-0.5, 0.5), horizontal in [0, 0.5].
    """

    excess: Estimate
    vertical: float
    horizontal: float


def peak_excess(originals: Tensor, reconstructions: Tensor, seed: int = 0) -> Peak:
    """Return the largest excess at a single spatial frequency, of spectra N x S x (S // 2 + 1) of the same N images.

    The maximum over two thousand noisy ratios is biased upwards: for 256 natural images against 256 others it is
    2.6 dB, where this estimate gives 0.1. The images are halved at random, each half chooses a frequency, and the other
    half measures the excess there; the mean of the two is returned, with an interval over images. The location is
    chosen by all images together.
    """
    n, side = originals.shape[:2]
    assert n >= 2, n
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    halves = torch.zeros(2, n, dtype=torch.double)
    halves[0, order[: n // 2]], halves[1, order[n // 2 :]] = 1, 1
    a, b = originals.flatten(1), reconstructions.flatten(1)

    def largest(mask: Tensor) -> int:
        ratio = decibels(b[mask].mean(0), a[mask].mean(0))
        return int(ratio.where(radii(side).flatten() * side >= LOBE, -torch.inf).argmax())

    chosen = [largest(half.bool()) for half in halves]
    measured: list[Callable[[Tensor], Tensor]] = [
        _excess_at(a, b, index, halves[1 - i]) for i, index in enumerate(chosen)
    ]
    excess = weighted_bootstrap(lambda w: (measured[0](w) + measured[1](w)) / 2, n, seed)
    row, column = divmod(largest(torch.ones(n, dtype=torch.bool)), originals.shape[2])
    return Peak(excess, float(torch.fft.fftfreq(side)[row]), column / side)


def _excess_at(a: Tensor, b: Tensor, index: int, half: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the excess at one frequency over half of the images, for R x n weights."""
    x, y = a[:, index].double(), b[:, index].double()

    def excess(weights: Tensor) -> Tensor:
        mine = weights * half
        share = mine.sum(1).clamp(min=1e-12)
        return decibels(mine @ y / share, mine @ x / share)

    return excess
