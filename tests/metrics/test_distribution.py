"""FID and KID against independent numpy and scipy forms and against known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg

from unlogit.metrics.distribution import fid, fid_interval, kid, precision_recall


def features(n: int, dim: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=torch.Generator().manual_seed(99))
    return torch.randn(n, dim, generator=generator) @ mix * scale + shift


def test_fid_matches_scipy_sqrtm() -> None:
    a, b = features(300, 12, 0), features(200, 12, 1, shift=0.3, scale=1.4)
    x, y = a.double().numpy(), b.double().numpy()
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * linalg.sqrtm(s @ t).real)
    assert fid(a, b) == pytest.approx(expected, rel=1e-8)


def test_fid_of_fewer_images_than_features_and_of_a_set_with_itself() -> None:
    a = features(10, 40, 0)
    assert fid(a, a) == pytest.approx(0, abs=1e-5)
    assert fid(a, a + 2) == pytest.approx(4 * 40, rel=1e-6)


def test_fid_interval_covers_a_known_distance() -> None:
    # Unit Gaussians whose means lie 2 apart in each of 3 dimensions: 12, and little bias at this size.
    covered = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        a, b = torch.randn(600, 3, generator=generator), torch.randn(600, 3, generator=generator) + 2
        estimate = fid_interval(a, b)
        covered += estimate.low <= 12 <= estimate.high
    assert covered >= 50


def test_kid_matches_a_plain_double_loop() -> None:
    x, y = features(9, 5, 0).double(), features(9, 5, 1, shift=0.5).double()

    def k(u: torch.Tensor, v: torch.Tensor) -> float:
        return float((u @ v) / 5 + 1) ** 3

    n = len(x)
    others = [(i, j) for i in range(n) for j in range(n) if i != j]
    expected = sum(k(x[i], x[j]) + k(y[i], y[j]) for i, j in others) / (n * (n - 1))
    expected -= 2 * sum(k(x[i], y[j]) for i in range(n) for j in range(n)) / n**2
    # One subset of everything: its order does not matter.
    assert kid(x, y, subsets=1, subset_size=9).mean == pytest.approx(expected, rel=1e-9)


def test_kid_is_unbiased_where_the_sets_are_alike_and_positive_where_not() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = features(2000, 8, 0), features(2000, 8, 1)
    same = kid(a, b, subsets=60, subset_size=100, generator=generator)
    apart = kid(a, b + 1, subsets=60, subset_size=100, generator=generator)
    assert same.values.min() < 0 < same.values.max()
    assert apart.mean > 10 * abs(same.mean)
    estimate = apart.estimate(2000)
    assert estimate.low <= estimate.value <= estimate.high
    assert estimate.n == 2000


def test_kid_and_precision_and_recall_agree_with_torch_fidelity() -> None:
    metric_kid = pytest.importorskip("torch_fidelity.metric_kid")
    metric_prc = pytest.importorskip("torch_fidelity.metric_prc")
    real, made = features(120, 6, 0), features(90, 6, 1, shift=0.5, scale=0.8)
    # One subset of everything: its order does not matter.
    theirs = metric_kid.kid_features_to_metric(real[:90], made, kid_subsets=1, kid_subset_size=90, verbose=False)
    ours = kid(real[:90], made, subsets=1, subset_size=90)
    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)
    precision, recall = metric_prc.calculate_precision_recall_full(made, real, neighborhood=3)
    found = precision_recall(real, made, 3)
    assert found.precision.value == pytest.approx(precision, abs=1e-6)
    assert found.recall.value == pytest.approx(recall, abs=1e-6)
    assert 0 < precision < 1
    assert 0 < recall < 1


def test_precision_falls_with_strange_images_and_recall_with_missing_ones() -> None:
    real = features(400, 4, 0)
    narrow = precision_recall(real, features(400, 4, 1, scale=0.3))
    assert narrow.precision.value > 0.9
    assert narrow.recall.value < 0.5
    wide = precision_recall(real, features(400, 4, 1, scale=3.0))
    assert wide.precision.value < 0.5
    assert wide.recall.value > 0.9
    same = precision_recall(real, features(400, 4, 2))
    assert same.precision.low > 0.8
    assert same.recall.n == 400
