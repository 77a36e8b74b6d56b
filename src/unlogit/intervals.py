"""Intervals: how far a mean over pictures could lie from what other pictures would have given."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

CHUNK = 1 << 22
"""Values resampled at a time: 16 MB of indices and as much of values."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: the point estimate.
        low, high: ends of the interval.
        n: on how many pictures it was measured.
    """

    value: float
    low: float
    high: float
    n: int

    def __post_init__(self) -> None:
        assert self.low <= self.value <= self.high, self

    def overlaps(self, other: Estimate) -> bool:
        """Whether the two intervals have a point in common."""
        return self.low <= other.high and other.low <= self.high


def bootstrap(values: Tensor, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> Estimate:
    """Mean of one value a picture, N, with the percentile bootstrap interval over pictures (Efron 1979)."""
    assert values.ndim == 1 and len(values), tuple(values.shape)
    values = values.detach().double().cpu()
    generator = torch.Generator().manual_seed(seed)
    rows = max(1, CHUNK // len(values))
    means = torch.cat(
        [
            values[torch.randint(len(values), (min(rows, resamples - done), len(values)), generator=generator)].mean(1)
            for done in range(0, resamples, rows)
        ]
    )
    tail = (1 - level) / 2
    low, high = means.quantile(torch.tensor([tail, 1 - tail], dtype=torch.double)).tolist()
    return enclosing(float(values.mean()), low, high, len(values))


def paired_bootstrap(a: Tensor, b: Tensor, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> Estimate:
    """Mean of a - b over the same pictures, N each; the two differ at that level where the interval excludes 0."""
    assert a.shape == b.shape, (tuple(a.shape), tuple(b.shape))
    return bootstrap(a.double() - b.double(), seed, resamples, level)


def wilson(successes: int, n: int, level: float = 0.95) -> Estimate:
    """A proportion with Wilson's score interval (Wilson 1927), which holds near 0 and 1 where others collapse."""
    assert 0 <= successes <= n and n > 0, (successes, n)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return enclosing(share, max(0.0, centre - half), min(1.0, centre + half), n)


def enclosing(value: float, low: float, high: float, n: int) -> Estimate:
    """The estimate, its interval widened to hold the value where rounding or a skewed resample left it out."""
    return Estimate(value, min(low, value), max(high, value), n)
