"""Images along a path, of the noise or of the logits: how far they travel, and how evenly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from unlogit.analyses._base import Cell, Column, Figure, Finding, Record, Result, Table
from unlogit.analyses._curves import draw_curves
from unlogit.analyses._evidence import Evidence, Images
from unlogit.analyses._fidelity import MetricInfo
from unlogit.analyses._paired import pair_tests, report_pairs
from unlogit.drawing import style
from unlogit.statistics import bootstrap

STILL = 1e-6
"""A path shorter than this goes nowhere: its steps are called even and its way straight."""


@dataclass(frozen=True)
class Paths:
    """N paths of T images in a space with distances.

    Attributes:
        steps: distance from each image to the next, (T - 1) x N.
        direct: from the first to the last, N.
    """

    steps: Tensor
    direct: Tensor

    @staticmethod
    def of(evidence: Evidence, points: list[Images]) -> Paths:
        """Return the measures of T >= 2 points, each of N images."""
        first = before = evidence.embed(points[0])
        steps = []
        for images in points[1:]:
            now = evidence.embed(images)
            steps.append((now - before).norm(dim=1))
            before = now
        return Paths(torch.stack(steps), (before - first).norm(dim=1))

    @property
    def length(self) -> Tensor:
        """All steps together, N."""
        return self.steps.sum(0)

    @property
    def detour(self) -> Tensor:
        """Length over direct distance, N: 1 for a straight way."""
        return torch.where(self.length > STILL, self.length / self.direct.clamp(min=STILL), 1)

    @property
    def largest(self) -> Tensor:
        """The largest step's share of the length times the number of steps, N: 1 for even steps, T - 1 for one leap."""
        even = self.steps.amax(0) * len(self.steps) / self.length.clamp(min=STILL)
        return torch.where(self.length > STILL, even, 1)


MEASURES = {
    "length": Column("length", None, "all steps of a path together"),
    "detour": Column("detour", None, "length over the distance of the path's ends: 1 for a straight way"),
    "largest": Column("largest step", None, "over the mean step: 1 for an even path; its highest value is one leap"),
}


def tell_paths(
    evidence: Evidence, points: Mapping[str, list[Images]], amounts: Sequence[float], prefix: str, axis: str
) -> Iterator[Result]:
    """Yield the steps along the paths, the table of their lengths, numbers that begin with `prefix`, and findings.

    Args:
        evidence: gives the space that distances are taken in.
        points: by inverter, the images at each amount; the same paths for all inverters.
        amounts: from 0 to 1.
        prefix: of the numbers' names.
        axis: what an amount is.
    """
    paths = {name: Paths.of(evidence, p) for name, p in points.items()}
    n = len(next(iter(paths.values())).direct)
    measured = f"Means over {n:,} paths with 95 % bootstrap CIs; distance in {evidence.embedding.name}."
    steps = {name: [bootstrap(step, evidence.seed) for step in path.steps] for name, path in paths.items()}
    with style():
        middles = [(a + b) / 2 for a, b in pairwise(amounts)]
        drawn = draw_curves({"length of a step": steps}, middles, axis, list(evidence.inverters), across=2)
    yield Figure("steps", "How even the way is", measured, drawn)
    found = {
        name: {key: bootstrap(getattr(path, key), evidence.seed) for key in MEASURES} for name, path in paths.items()
    }
    rows: list[tuple[Cell, ...]] = [(name, *found[name].values()) for name in paths]
    yield Table("paths", "Lengths", measured, (Column("inverter"), *MEASURES.values()), tuple(rows))
    for name, each in found.items():
        for key, estimate in each.items():
            yield Record(f"{prefix}_{key}", name, estimate, "", None)
    parts = "; ".join(
        f"the path of {name} has length {e['length'].value:.3f} (95 % CI {e['length'].low:.3f} to "
        f"{e['length'].high:.3f}), and its largest step is {e['largest'].value:.2f} times the mean one"
        for name, e in found.items()
    )
    yield Finding(f"In {len(amounts) - 1} steps: {parts}.")
    metrics = [
        MetricInfo(f"{prefix}_{key}", column.title, None, column.explanation) for key, column in MEASURES.items()
    ]
    values = {name: {f"{prefix}_{key}": getattr(path, key) for key in MEASURES} for name, path in paths.items()}
    what = f"The first inverter less the second, on the same {n:,} paths; distance in {evidence.embedding.name}."
    yield from report_pairs(metrics, pair_tests(metrics, values, evidence.seed), what)
