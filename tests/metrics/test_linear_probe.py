"""Linear probes read what is there linearly, and nothing else."""

from __future__ import annotations

import pytest
import torch

from unlogit.metrics.probe import PENALTIES, Probed, cross_fit, fit_ridge


def explained(found: Probed, truth: torch.Tensor) -> torch.Tensor:
    """R2, D."""
    return 1 - (truth - found.read).square().sum(0) / (truth - found.baseline).square().sum(0)


def test_what_is_linear_is_read_what_is_noisy_in_part_and_what_is_absent_not() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(1000, 20, generator=generator).double()
    noise = torch.randn(1000, 2, generator=generator).double()
    linear = inputs @ torch.randn(20, generator=generator).double()
    half = linear / linear.std() + noise[:, 0]
    product = inputs[:, 0] * inputs[:, 1]
    targets = torch.stack([7 + 100 * linear, half, product, noise[:, 1]], 1)
    r2 = explained(cross_fit(inputs, targets, 5, 0), targets)
    assert r2[0] > 0.99
    assert float(r2[1]) == pytest.approx(0.5, abs=0.06)
    assert r2[2] < 0.05
    assert r2[3] < 0.02


def test_more_dimensions_than_images_are_no_harm() -> None:
    generator = torch.Generator().manual_seed(1)
    signal = torch.randn(120, 3, generator=generator)
    inputs = torch.cat([signal, 0.05 * torch.randn(120, 400, generator=generator)], 1)
    # Standardised, the 400 are as large as the signal.
    assert explained(cross_fit(inputs, torch.randn(120, 2, generator=generator), 5, 0), torch.zeros(120, 2)).shape == (
        2,
    )
    nothing = torch.randn(120, 2, generator=generator).double()
    assert float(explained(cross_fit(inputs, nothing, 5, 0), nothing).min()) > -0.3


def test_ridge_is_the_normal_equations_at_one_of_the_penalties() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(80, 6, generator=generator).double() * 3 + 1
    y = (x @ torch.randn(6, 2, generator=generator).double()) + torch.randn(80, 2, generator=generator).double()
    new = torch.randn(5, 6, generator=generator).double()
    found = fit_ridge(x, y)(new).read
    shift, scale = x.mean(0), x.std(0)
    z = (x - shift) / scale
    expected = [
        (new - shift) / scale @ torch.linalg.solve(z.T @ z + p * 80 * torch.eye(6).double(), z.T @ (y - y.mean(0)))
        + y.mean(0)
        for p in PENALTIES
    ]
    assert min(float((found - e).abs().max()) for e in expected) < 1e-9


def test_a_dimension_that_never_varies_says_nothing() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.cat([torch.randn(60, 2, generator=generator), torch.zeros(60, 1)], 1)
    read = fit_ridge(x, x[:, :1])
    new = torch.tensor([[0.5, 0.0, 0.0], [0.5, 0.0, 9.0]])
    assert torch.allclose(*read(new).read)


def test_a_probability_that_was_nearly_constant_in_the_fit_does_not_carry_a_new_image_away() -> None:
    generator = torch.Generator().manual_seed(4)
    signal = torch.randn(400, 4, generator=generator).double()
    targets = signal @ torch.randn(4, 2, generator=generator).double() + torch.randn(400, 2, generator=generator)
    rare = 1e-6 * torch.rand(400, 50, generator=generator).double()
    rare[300:].diagonal().fill_(0.9)  # Images that were not in the fit.
    inputs = torch.cat([signal, rare], 1)
    read = fit_ridge(inputs[:300], targets[:300])
    assert float(explained(read(inputs[300:]), targets[300:]).min()) > 0.5
