"""Mirroring: pairs of images whose handedness is known."""

from __future__ import annotations

import pytest
import torch

from unlogit.metrics.mirroring import Axis, flipped, mirroring

DIMS: dict[Axis, int] = {"horizontal": 3, "vertical": 2}


def images(seed: int, n: int = 200) -> torch.Tensor:
    """Smooth random images."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.interpolate(torch.rand(n, 3, 8, 8, generator=generator), (32, 32), mode="bilinear")


@pytest.mark.parametrize("axis", list(DIMS))
def test_mirror_images_have_cosine_minus_one_and_equal_ones_one(axis: Axis) -> None:
    a = images(0)
    torch.testing.assert_close(mirroring(a, a.flip(DIMS[axis]), axis), -torch.ones(len(a)))
    torch.testing.assert_close(mirroring(a, a, axis), torch.ones(len(a)))
    other: Axis = "vertical" if axis == "horizontal" else "horizontal"
    # Mirrored about the other axis, what is odd about this one keeps its sign for the half of it that is even there.
    assert bool((mirroring(a, a.flip(DIMS[other]), axis) > -1).all())


def test_unrelated_images_have_cosine_about_nought() -> None:
    assert abs(float(mirroring(images(0), images(1), "horizontal").mean())) < 0.03


def test_flips_among_pairs_are_counted_by_axis() -> None:
    a, generator = images(0), torch.Generator().manual_seed(2)
    noisy = (a + 0.1 * torch.randn(a.shape, generator=generator)).clamp(0, 1)
    b = torch.cat([noisy[:100], noisy[100:170].flip(3), noisy[170:].flip(2)])
    assert flipped(a, b, "horizontal").tolist() == [0] * 100 + [1] * 70 + [0] * 30
    assert flipped(a, b, "vertical").tolist() == [0] * 170 + [1] * 30


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2])
def test_noise_about_a_symmetric_image_is_no_flip(noise: float) -> None:
    """Both handednesses are equally near where the mean is symmetric, although nothing is mirrored."""
    mean, generator = images(0, 400), torch.Generator().manual_seed(3)
    mean = (mean + mean.flip(3)) / 2
    a, b = (mean + noise * images(seed, 400) * torch.randn(400, 3, 1, 1, generator=generator) for seed in (4, 5))
    a, b = a.clamp(0, 1), b.clamp(0, 1)
    assert float((mirroring(a, b, "horizontal") < 0).float().mean()) > 0.4
    assert float(flipped(a, b, "horizontal").mean()) < 0.03
    assert float(flipped(a, b, "vertical").mean()) < 0.03


def test_what_is_symmetric_counts_as_no_flip() -> None:
    a = torch.full((3, 3, 32, 32), 0.5)
    assert flipped(a, a, "horizontal").tolist() == flipped(a, a, "vertical").tolist() == [0, 0, 0]
    assert mirroring(a, a, "vertical").tolist() == [0, 0, 0]
