"""Power spectra, against numpy, scipy and patterns of known power."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import fft, signal
from torch import Tensor

from unlogit.metrics.pixel import FLOOR
from unlogit.metrics.spectrum import band_power, decibels, octave_excess, octaves, peak_excess, power_spectrum, radii

SIDE = 64


def noise(count: int, deviation: float, seed: int) -> Tensor:
    """White noise around grey."""
    return 0.5 + deviation * torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def waves(amplitude: float, vertical: float, horizontal: float) -> Tensor:
    """A sinusoid, S x S, of so many cycles per pixel."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return amplitude * torch.cos(2 * math.pi * (vertical * y + horizontal * x))


def test_the_spectrum_is_scipys() -> None:
    images = noise(2, 0.1, 0).double()
    window = np.outer(*[signal.windows.hann(SIDE, sym=True)] * 2)
    centred = images.numpy() - images.numpy().mean((2, 3), keepdims=True)
    power = (np.abs(fft.fft2(centred * window)) ** 2).mean(1) / (window**2).sum()
    np.testing.assert_allclose(power_spectrum(images), power[:, :, : SIDE // 2 + 1], rtol=1e-3, atol=1e-9)
    # In one dimension, with noise along x alone, it is scipy's periodogram.
    lines = 0.5 + 0.1 * torch.randn(1, 3, 1, SIDE, generator=torch.Generator().manual_seed(1)).expand(1, 3, SIDE, SIDE)
    _, density = signal.periodogram(
        lines[0, :, 0].numpy(),
        window=window[SIDE // 2] / window[SIDE // 2].max(),
        detrend="constant",
        scaling="density",
    )
    density[:, 1:-1] /= 2  # scipy's is one-sided.
    ratio = power_spectrum(lines)[0, 0, 1:] / torch.from_numpy(density.mean(0))[1:]
    torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio[0])), rtol=1e-3, atol=0)


def test_white_noise_has_its_variance_at_every_frequency() -> None:
    power = power_spectrum(noise(64, 0.1, 0))
    assert power.shape == (64, SIDE, SIDE // 2 + 1)
    bands = octaves(SIDE)
    assert bands == [(0.25, 0.5), (0.125, 0.25), (0.0625, 0.125), (0.03125, 0.0625)]
    torch.testing.assert_close(band_power(power, bands).mean(0), torch.full((4,), 0.01), rtol=0.03, atol=0)
    assert float(radii(SIDE)[SIDE // 2, -1]) == pytest.approx(0.5**0.5)


def test_band_power_counts_the_half_of_the_plane_that_is_left_out() -> None:
    power = power_spectrum(noise(1, 0.1, 0))
    whole = np.zeros((SIDE, SIDE))
    whole[:, : SIDE // 2 + 1] = power[0]
    whole[:, SIDE // 2 + 1 :] = np.roll(whole[::-1], 1, 0)[:, SIDE // 2 - 1 : 0 : -1]
    radius = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None])
    expected = [whole[(low < radius) & (radius <= high)].mean() for low, high in octaves(SIDE)]
    np.testing.assert_allclose(band_power(power, octaves(SIDE))[0], expected, rtol=1e-5)


@pytest.mark.parametrize(("vertical", "horizontal"), [(-0.15625, 0.40625), (0.25, 0.0), (-0.5, 0.5)])
def test_a_sinusoid_is_found_with_its_power(vertical: float, horizontal: float) -> None:
    amplitude, deviation = 0.02, 0.1
    originals = noise(256, deviation, 0)
    made = noise(256, deviation, 1) + waves(amplitude, vertical, horizontal)
    found = peak_excess(power_spectrum(originals), power_spectrum(made))
    window = signal.windows.hann(SIDE)
    # Where a frequency is its own mirror image, both halves of the cosine add up.
    height = amplitude / 2 if horizontal < 0.5 else amplitude
    peak = height**2 * window.sum() ** 4 / (window**2).sum() ** 2
    assert (abs(found.vertical), found.horizontal) == (abs(vertical), horizontal)
    expected = 10 * math.log10(1 + peak / deviation**2)
    assert found.excess.value == pytest.approx(expected, abs=0.6)
    assert found.excess.high - found.excess.low < 2


def test_noise_alone_has_no_peak() -> None:
    originals, made = power_spectrum(noise(64, 0.1, 0)), power_spectrum(noise(64, 0.1, 1))
    naive = float(decibels(made.mean(0), originals.mean(0)).max())
    found = peak_excess(originals, made).excess
    assert naive > 1.2  # The largest of two thousand noisy ratios.
    assert abs(found.value) < 0.8
    assert found.low < 0 < found.high


def test_excess_by_octave_is_that_of_the_contrast_and_of_lost_detail() -> None:
    originals = noise(64, 0.1, 0)
    louder = octave_excess(power_spectrum(originals), power_spectrum(0.5 + 2 * (originals - 0.5)))
    assert [e.value for e in louder.values()] == pytest.approx([20 * math.log10(2)] * 4, abs=0.01)
    blurred = torch.nn.functional.avg_pool2d(originals, 3, 1, 1, count_include_pad=False)
    highest, *_, lowest = octave_excess(power_spectrum(originals), power_spectrum(blurred)).values()
    assert highest.value < -5 < lowest.value
    assert highest.low < highest.value < highest.high < 0
    assert highest.n == 64


def test_images_without_detail_have_no_excess() -> None:
    flat = power_spectrum(torch.full((4, 3, 32, 32), 0.3))
    assert [e.value for e in octave_excess(flat, flat).values()] == pytest.approx([0.0] * 3)
    assert peak_excess(flat, flat).excess.value == pytest.approx(0)
    assert float(decibels(flat.mean() + FLOOR, flat.mean())) == pytest.approx(10 * math.log10(2), abs=1e-3)
