"""Cells of a comparison, one per arm and seed, and its tables with the seed as the unit."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from recipe_results import keep, save_figure
from torch import Tensor
from tqdm import tqdm

from unlogit import metrics
from unlogit.attacks import pgd
from unlogit.classifiers import Classifier
from unlogit.drawing import INK, colour, panels, style
from unlogit.metrics import Unavailable
from unlogit.metrics.identification import difference_over_lineups, over_lineups
from unlogit.statistics import Difference, Estimate, correct_family

CHUNK = 64
COLUMNS = 3
"""Maximum number of panels of a figure side by side."""
OBSERVER = "st_lpips_alex"
Results = dict[str, dict[int, dict[str, Any]]]
"""Values by arm, by seed, by measure."""


@dataclass(frozen=True)
class Cell:
    """What is trained and measured for one arm and one seed.

    Attributes:
        folder: its own folder, in which the measures are kept as metrics.json.
        settings: all that the measures depend on.
        compute: returns the values by measure.
    """

    folder: Path
    settings: object
    compute: Callable[[], dict[str, Any]]


def run_cells(arms: Sequence[str], seeds: Sequence[int], cell: Callable[[str, int], Cell]) -> Results:
    """Compute every cell that has not been yet, and return the values of all."""
    results: Results = {arm: {} for arm in arms}
    for arm, seed in (bar := tqdm(list(product(arms, seeds)), unit="cell", disable=None)):
        bar.set_description(f"{arm}, seed {seed}")
        each = cell(arm, seed)
        results[arm][seed] = keep(each.folder / "metrics.json", each.settings, each.compute)
    return results


def over_seeds(values: Sequence[float]) -> Estimate:
    """Return the mean over seeds with Student's 95 % CI, which is infinite for one seed."""
    if len(values) == 1:
        return Estimate(float(values[0]), -math.inf, math.inf, 1)
    return over_lineups(torch.tensor(values, dtype=torch.double)[:, None], -math.inf, math.inf)


def arm_rows(results: Results, measures: Sequence[str], columns: Sequence[str] = ("arm",)) -> list[dict[str, object]]:
    """Return a row per arm with the mean of each measure over its seeds; two columns split the arm at its comma.

    Arms without a seed are left out, and measures that some cell does not have.
    """
    shared = shared_measures(results, measures)
    return [
        {
            **dict(zip(columns, arm.split(", ", len(columns) - 1), strict=True)),
            "seeds": len(runs),
            **{measure: over_seeds([run[measure] for run in runs.values()]) for measure in shared},
        }
        for arm, runs in results.items()
        if runs
    ]


def shared_measures(results: Results, measures: Sequence[str]) -> list[str]:
    """Return the measures that every cell has."""
    every = [run for runs in results.values() for run in runs.values()]
    return [measure for measure in measures if all(run[measure] is not None for run in every)]


def write_figure(file: Path, results: Results, measures: Sequence[str]) -> None:
    """Draw a panel per measure as PNG: a dot per seed of each arm, and the mean with Student's 95 % CI over seeds.

    Arms without a seed are left out, and measures that some cell does not have. One or two seeds have no useful
    interval, so that only their dots and mean are drawn.
    """
    arms = {arm: runs for arm, runs in results.items() if runs}
    shared = shared_measures(arms, measures)
    rows = math.ceil(len(shared) / COLUMNS)
    columns = math.ceil(len(shared) / rows)
    with style():
        figure, axes = panels(rows, columns, 0.7 + 0.26 * len(arms), sharey=True)
        for ax, measure in zip(axes, shared, strict=False):
            for index, runs in enumerate(arms.values()):
                values = [run[measure] for run in runs.values()]
                mean = over_seeds(values)
                ax.scatter(values, [index + 0.25] * len(values), s=12, color=colour(index), alpha=0.6, linewidths=0)
                ax.plot(mean.value, index, marker="|", color=colour(index), markersize=13, markeredgewidth=2)
                if len(values) > 2:
                    ax.plot([mean.low, mean.high], [index, index], color=colour(index), linewidth=1.5)
            ax.set(title=measure, yticks=range(len(arms)), yticklabels=list(arms), ylim=(len(arms) - 0.5, -0.5))
            ax.tick_params(axis="y", labelcolor=INK)
        for ax in axes[len(shared) :]:
            ax.set_visible(False)
    save_figure(file, figure)


def contrast_rows(
    results: Results,
    pairs: Sequence[tuple[str, str]],
    measures: Sequence[str],
    margins: Mapping[str, float] | None = None,
) -> list[dict[str, object]]:
    """Return a row per pair of arms and measure: the first less the second, paired by seed (Student's test).

    p-values are corrected over the whole table (Holm). A measure with a margin is called equivalent where the 95 % CI
    lies within it to both sides. Pairs that share less than two seeds are left out.
    """
    tests: dict[tuple[str, str], Difference] = {}
    by_seed: dict[tuple[str, str], list[float]] = {}
    for (one, other), measure in product(pairs, measures):
        shared = [seed for seed in results.get(one, {}) if seed in results.get(other, {})]
        values = [tuple(results[arm][seed][measure] for arm in (one, other)) for seed in shared]
        if len(values) < 2 or any(None in pair for pair in values):
            continue
        a, b = torch.tensor(values, dtype=torch.double).T.unsqueeze(2)
        key = (f"{one} - {other}", measure)
        tests[key], by_seed[key] = difference_over_lineups(a, b), (a - b)[:, 0].tolist()
    rows: list[dict[str, object]] = []
    for (name, measure), test in correct_family(tests).items():
        margin = (margins or {}).get(measure)
        verdict = test.verdict
        if margin is not None and -margin < test.estimate.low and test.estimate.high < margin:
            verdict += f", equivalent within ±{margin:g}"
        rows.append(
            {
                "contrast": name,
                "measure": measure,
                "seeds": test.estimate.n,
                "difference": test.estimate,
                "p (Holm)": f"{test.p:.4f}",
                "verdict": verdict,
                "by seed": "; ".join(f"{each:+.4f}" for each in by_seed[name, measure]),
            }
        )
    return rows


def robust_accuracy(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    radii: Sequence[float],
    restarts: int,
    seed: int,
    steps: int = 20,
) -> dict[float, float]:
    """Return the accuracy under PGD by radius: the share of images that no restart leads to another class.

    An image that is misclassified within a radius is so within all larger ones and is not attacked again.

    Args:
        classifier: in evaluation mode.
        images: N x 3 x H x W in [0, 1].
        labels: int64, N.
        radii: l-inf, in the scale where pixels are in [0, 1]; 0 is the clean accuracy.
        restarts: number of random starts.
        seed: random seed of those.
        steps: gradient steps of each.
    """
    generator = torch.Generator().manual_seed(seed)
    right = torch.ones(len(images), dtype=torch.bool)
    shares = {}
    for radius in sorted(radii):
        for _ in range(restarts if radius else 1):
            for part in right.nonzero()[:, 0].split(CHUNK):
                attacked = pgd(
                    classifier, images[part], labels[part], radius, steps if radius else 0, generator=generator
                )
                with torch.no_grad():
                    right[part] = classifier(attacked).argmax(1) == labels[part]
        shares[radius] = float(right.float().mean())
    return shares


def perceptual_distance(pairs: Sequence[tuple[Tensor, Tensor]]) -> float | None:
    """Return the mean ST-LPIPS; None, with a warning, where its weights are not on this machine."""
    try:
        metric = metrics.get(OBSERVER)
    except Unavailable as error:
        print(f"warning: no ST-LPIPS: {error}", file=sys.stderr)
        return None
    return float(torch.cat([metric(a, b) for a, b in pairs]).mean())
