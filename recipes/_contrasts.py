"""Contrasts of trainings: weighted sums of rows of a comparison, tested over images and shown over trainings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from recipe_results import paired_rows
from scipy import special
from torch import Tensor

from unlogit.metrics.identification import difference_over_lineups
from unlogit.statistics import Difference, Estimate, paired_tests

SEED = 0


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of rows, whose mean over images is tested against 0.

    Attributes:
        name: how the table calls it.
        weights: weight by row.
        measures: the measures that it is of; () for all.
    """

    name: str
    weights: Mapping[str, float]
    measures: tuple[str, ...] = ()


def test_contrasts(wanted: list[Contrast], found: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, object]]:
    """Test each contrast in each measure on means over seeds; p-values are corrected over the whole table (Holm).

    Intervals and p-values are over images, or over line-ups for bits. "Over trainings" is the interval over seeds, "by
    seed" the contrast of each seed alone.
    """
    tests: dict[tuple[str, str], Difference] = {}
    seeds: dict[tuple[str, str], dict[str, object]] = {}
    for contrast in wanted:
        rows = {name: found[name] for name in contrast.weights}
        shared = [
            m for m in next(iter(rows.values()))[0] if all(run[m] is not None for runs in rows.values() for run in runs)
        ]
        for measure in contrast.measures or shared:
            # Seeds x images, or seeds x line-ups x images of one.
            of_rows = {name: torch.tensor([run[measure] for run in runs]).double() for name, runs in rows.items()}
            values = torch.stack([weight * of_rows[name] for name, weight in contrast.weights.items()]).sum(0)
            key = (contrast.name, measure)
            mean = values.mean(0)
            tests[key] = (
                difference_over_lineups(mean, torch.zeros_like(mean))
                if mean.ndim == 2
                else paired_tests({key: mean}, SEED)[key]
            )
            seeds[key] = {
                "over trainings": over_trainings(contrast.weights, of_rows),
                "by seed": "; ".join(f"{float(each.mean()):+.4f}" for each in values),
            }
    return [row | seeds[key] for key, row in zip(tests, paired_rows(tests), strict=True)]


def over_trainings(weights: Mapping[str, float], rows: Mapping[str, Tensor]) -> Estimate:
    """Return a contrast of rows, seeds x ... each, with Student's 95 % CI over trainings; infinite for one seed.

    All trainings of the contrast are taken to vary by one standard deviation over seeds, which is pooled over its rows,
    since two seeds of one row alone determine none.
    """
    means = {name: values.flatten(1).mean(1) for name, values in rows.items()}
    value = sum(weight * float(means[name].mean()) for name, weight in weights.items())
    count = len(next(iter(means.values())))
    if count == 1:
        return Estimate(value, -math.inf, math.inf, 1)
    variance = float(torch.stack([each.var() for each in means.values()]).mean())
    t = float(special.stdtrit(len(means) * (count - 1), 0.975))
    half = t * math.sqrt(sum(weight**2 for weight in weights.values()) * variance / count)
    return Estimate(value, value - half, value + half, count)
