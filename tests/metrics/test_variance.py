"""The two-way decomposition: known variances are found, and drawing more does not change what is estimated."""

from __future__ import annotations

import pytest
import torch

from unlogit.metrics.variance import TwoWay
from unlogit.statistics import weighted_bootstrap


def layout(a: float, b: float, e: float, noises: int, n: int, seed: int, size: int = 200) -> TwoWay:
    """Of effects with these standard deviations."""
    generator = torch.Generator().manual_seed(seed)
    images = a * torch.randn(1, n, size, generator=generator)
    common = b * torch.randn(noises, 1, size, generator=generator)
    return TwoWay.of(5 + images + common + e * torch.randn(noises, n, size, generator=generator))


@pytest.mark.parametrize(("a", "b", "e"), [(1.0, 0.5, 0.25), (0.2, 0.0, 1.0), (1.0, 0.0, 0.0)])
@pytest.mark.parametrize("noises", [2, 6])
def test_components_are_those_that_were_put_in(a: float, b: float, e: float, noises: int) -> None:
    n = 40
    even = torch.full((1, n), 1 / n, dtype=torch.double)
    found = torch.stack([layout(a, b, e, noises, n, seed).components(even)[0] for seed in range(12)]).mean(0) / 200
    torch.testing.assert_close(found, torch.tensor([a, b, e], dtype=torch.double).square(), atol=0.03, rtol=0.06)


def test_shares_are_ratios_of_the_components() -> None:
    even = torch.full((1, 30), 1 / 30, dtype=torch.double)
    found = layout(1.0, 0.5, 0.25, 4, 30, 0)
    a, b, e = found.components(even)[0].tolist()
    assert found.noise_share(even).item() == pytest.approx((b + e) / (a + b + e))
    assert found.common_share(even).item() == pytest.approx(b / (a + b + e))


def test_it_is_the_classical_decomposition() -> None:
    generator = torch.Generator().manual_seed(3)
    y = torch.randn(4, 9, 1, generator=generator, dtype=torch.double)
    row, column, mean = y.mean(0), y.mean(1), y.mean()
    squares_e = (y - row - column.unsqueeze(1) + mean).square().sum() / (3 * 8)
    expected_a = (4 * (row - mean).square().sum() / 8 - squares_e) / 4
    expected_b = (9 * (column - mean).square().sum() / 3 - squares_e) / 9
    found = TwoWay.of(y).components(torch.full((1, 9), 1 / 9, dtype=torch.double))[0]
    expected = torch.stack([expected_a, expected_b, squares_e]).clamp(min=0)
    torch.testing.assert_close(found, expected)


def test_a_generator_deaf_to_noise_and_one_deaf_to_logits() -> None:
    n = 20
    for scales, share in (((1.0, 0.0, 0.0), 0), ((0.0, 1.0, 0.0), 1)):
        found = layout(*scales, 4, n, 1)
        estimate = weighted_bootstrap(found.noise_share, n)
        assert estimate.value == pytest.approx(share, abs=1e-6)
        assert estimate.low == pytest.approx(share, abs=1e-6) == estimate.high
