"""Images along a path in noise or logits: the length of the path and the evenness of its steps."""

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
"""Length below which a path counts as constant, with even steps and no detour."""


@dataclass(frozen=True)
class Paths:
    """N paths of T images in a space with distances.

    Attributes:
        steps: distances of consecutive images, (T - 1) x N.
        direct: distances of the first and the last image, N.
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
        """Sum of all steps, N."""
        return self.steps.sum(0)

    @property
    def detour(self) -> Tensor:
        """Length divided by direct distance, N: 1 for a straight path."""
        return torch.where(self.length > STILL, self.length / self.direct.clamp(min=STILL), 1)

    @property
    def largest(self) -> Tensor:
        """Largest step divided by the mean step, N: 1 for even steps, T - 1 for a single jump."""
        even = self.steps.amax(0) * len(self.steps) / self.length.clamp(min=STILL)
        return torch.where(self.length > STILL, even, 1)


MEASURES = {
    "length": Column("length", None, "sum of all steps of a path"),
    "detour": Column("detour", None, "length divided by the distance of the path's ends: 1 for a straight path"),
    "largest": Column(
        "largest step", None, "divided by the mean step: 1 for even steps, the number of steps for a single jump"
    ),
}


def report_paths(
    evidence: Evidence, points: Mapping[str, list[Images]], amounts: Sequence[float], prefix: str, axis: str
) -> Iterator[Result]:
    """Yield the steps along the paths, the table of their lengths, records that begin with `prefix`, and findings.

    Args:
        evidence: evidence, whose embedding defines distances.
        points: by inverter, the images at each amount; the same paths for all inverters.
        amounts: positions on the path, from 0 to 1.
        prefix: prefix of the records' names.
        axis: label of the axis of amounts.
    """
    paths = {name: Paths.of(evidence, p) for name, p in points.items()}
    n = len(next(iter(paths.values())).direct)
    measured = f"Means over {n:,} paths with 95 % bootstrap CIs; distance in {evidence.embedding.name}."
    steps = {name: [bootstrap(step, evidence.seed) for step in path.steps] for name, path in paths.items()}
    with style():
        middles = [(a + b) / 2 for a, b in pairwise(amounts)]
        drawn = draw_curves({"length of a step": steps}, middles, axis, list(evidence.inverters), across=2)
    yield Figure("steps", "Evenness of the path", measured, drawn)
    estimates = {
        name: {key: bootstrap(getattr(path, key), evidence.seed) for key in MEASURES} for name, path in paths.items()
    }
    rows: list[tuple[Cell, ...]] = [(name, *estimates[name].values()) for name in paths]
    yield Table("paths", "Lengths", measured, (Column("inverter"), *MEASURES.values()), tuple(rows))
    for name, each in estimates.items():
        for key, estimate in each.items():
            yield Record(f"{prefix}_{key}", name, estimate, "", None)
    parts = "; ".join(
        f"the path of {name} has length {e['length'].value:.3f} (95 % CI {e['length'].low:.3f} to "
        f"{e['length'].high:.3f}), and its largest step is {e['largest'].value:.2f} times the mean one"
        for name, e in estimates.items()
    )
    yield Finding(f"In {len(amounts) - 1} steps: {parts}.")
    metrics = [
        MetricInfo(f"{prefix}_{key}", column.title, None, column.explanation) for key, column in MEASURES.items()
    ]
    values = {name: {f"{prefix}_{key}": getattr(path, key) for key in MEASURES} for name, path in paths.items()}
    what = f"The first inverter less the second, on the same {n:,} paths; distance in {evidence.embedding.name}."
    yield from report_pairs(metrics, pair_tests(metrics, values, evidence.seed), what)
