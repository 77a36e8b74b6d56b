"""Intervals: how far a mean over pictures could lie from what other pictures would have given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from unlogit.errors import UnlogitError

if TYPE_CHECKING:
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
    import torch  # Here, since the study's server needs the other interval alone, and torch takes seconds.

    if values.ndim != 1 or not len(values) or not values.isfinite().all():
        what = "non-finite values" if values.numel() and not values.isfinite().all() else f"shape {tuple(values.shape)}"
        raise UnlogitError(f"interval of {what}: give one finite value per image, of at least one image")
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


def weighted_bootstrap(
    statistic: Callable[[Tensor], Tensor], n: int, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> Estimate:
    """Any figure of n pictures with the percentile bootstrap interval over them.

    `statistic` gives R figures of R x n weights, float64, a row how much each picture counts, with sum 1; where all
    count the same it is the value itself.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(n, (resamples, n), generator=generator)
    counts = torch.zeros(resamples, n, dtype=torch.double).scatter_add_(
        1, drawn, torch.ones_like(drawn, dtype=torch.double)
    )
    tail = (1 - level) / 2
    low, high = statistic(counts / n).quantile(torch.tensor([tail, 1 - tail], dtype=torch.double)).tolist()
    return enclosing(float(statistic(torch.full((1, n), 1 / n, dtype=torch.double))), low, high, n)


def paired_bootstrap(a: Tensor, b: Tensor, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> Estimate:
    """Mean of a - b over the same pictures, N each; the two differ at that level where the interval excludes 0."""
    if a.shape != b.shape:
        raise UnlogitError(
            f"paired interval of {tuple(a.shape)} and {tuple(b.shape)} values: give both the same images"
        )
    return bootstrap(a.double() - b.double(), seed, resamples, level)


def wilson(successes: int, n: int, level: float = 0.95) -> Estimate:
    """A proportion with Wilson's score interval (Wilson 1927), which holds near 0 and 1 where others collapse."""
    if not (0 <= successes <= n and n > 0):
        raise UnlogitError(f"{successes} successes of {n}: must be 0 to n, and n at least 1")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return enclosing(share, max(0.0, centre - half), min(1.0, centre + half), n)


def enclosing(value: float, low: float, high: float, n: int) -> Estimate:
    """The estimate, its interval widened to hold the value where rounding or a skewed resample left it out."""
    return Estimate(value, min(low, value), max(high, value), n)


def sign_flip_test(differences: Tensor, seed: int = 0, flips: int = 10_000) -> Tensor:
    """Two-sided p-values, M, that paired differences, N x M, have mean 0 (Fisher's randomisation test, 1935).

    The same random signs serve all columns. No p is below 1 / (flips + 1).
    """
    import torch

    if differences.ndim != 2 or not len(differences):
        raise UnlogitError(f"differences of shape {tuple(differences.shape)}: must be N x M, with N at least 1")
    differences = differences.detach().double().cpu()
    seen = differences.mean(0).abs()
    generator = torch.Generator().manual_seed(seed)
    rows = max(1, CHUNK // len(differences))
    beyond = torch.zeros_like(seen)
    for done in range(0, flips, rows):
        signs = torch.randint(2, (min(rows, flips - done), len(differences)), generator=generator).double() * 2 - 1
        # A hair of slack, since equal means may be added up in different orders.
        beyond += ((signs @ differences / len(differences)).abs() >= seen * (1 - 1e-9)).sum(0)
    return (1 + beyond) / (1 + flips)


def holm(p: Tensor) -> Tensor:
    """p-values of any shape, each made as large as asking all these questions at once demands (Holm 1979)."""
    flat = p.flatten()
    order = flat.argsort()
    factors = flat.new_tensor(range(len(flat), 0, -1))
    adjusted = flat.clone()
    adjusted[order] = (flat[order] * factors).cummax(0).values.clamp(max=1)
    return adjusted.view_as(p)
