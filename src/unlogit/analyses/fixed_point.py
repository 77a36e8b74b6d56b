"""Repeated reconstruction: whether it converges, and how far it drifts from the original."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._curves import draw_curves
from unlogit.analyses._evidence import Images
from unlogit.analyses._fidelity import MetricInfo, ReferenceStatistics
from unlogit.analyses._paired import pair_tests, report_pairs
from unlogit.drawing import inverter_blocks, sheet, style
from unlogit.settings import Count, Several, Weight
from unlogit.statistics import Estimate, bootstrap, wilson

TITLE = "Fixed points"
QUESTION = "Does repeated reconstruction converge, and how much of the original is left?"

CURVES = {
    "step": "step in pixels ↓",
    "kept": "class of the original ↑",
    "stayed": "class of the round before",
    "layout": "layout cosine to the original ↑",
}
"""Titles by measure, in the order drawn."""


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Number of rounds and images."""

    rounds: Several = 8
    """Number of successive reconstructions. Each image keeps its noise throughout."""
    num_images: Several = 128
    """Number of images measured."""
    shown: Count = 4
    """Number of images shown."""
    still: Weight = 0.02
    """Root mean squared pixel difference between two rounds below which an image counts as converged, for pixels in [0,
    1]."""


@dataclass(frozen=True)
class Walk:
    """Rounds of one inverter: images by round, and values by measure, rounds x n."""

    images: list[Images]
    values: dict[str, Tensor]
    classes: Tensor


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield images by round, curves, and the measures of the last round."""
    which = evidence.sample(config.num_images, evidence.seed)
    walks = {name: _walk(config, evidence, name, which) for name in evidence.inverters}
    rounds = sorted({1, 2, 4, config.rounds} & set(range(1, config.rounds + 1)))
    blocks = inverter_blocks(
        evidence.inverters,
        {"original": evidence.originals.bytes[which[: config.shown]]},
        {
            name: {f"round {r}": walk.images[r - 1].bytes[: config.shown] for r in rounds}
            for name, walk in walks.items()
        },
    )
    caption = "Each round reconstructs the images of the previous round, with the same noise throughout."
    with style():
        yield Figure("images", "Images by round", caption, sheet(blocks))
        curves = {
            title: {name: [_estimate(key, v, evidence.seed) for v in walk.values[key]] for name, walk in walks.items()}
            for key, title in CURVES.items()
        }
        drawn = draw_curves(curves, list(range(1, config.rounds + 1)), "round", list(evidence.inverters))
    caption = f"{len(which)} images; bands are 95 % intervals. The first round's step is from the original."
    yield Figure("curves", "Drift by round", caption, drawn)
    yield from _numbers(config, evidence, walks)


@torch.no_grad()
def _walk(config: Config, evidence: Evidence, name: str, which: Tensor) -> Walk:
    noise = evidence.noise_at(name, which)
    statistics = ReferenceStatistics.of(evidence, name)
    originals = before = Images(evidence.originals.bytes[which])
    classes = previous = evidence.encoded(name).logits[which].argmax(1)
    images: list[Images] = []
    values: dict[str, list[Tensor]] = {key: [] for key in CURVES}
    for _ in range(config.rounds):
        reconstructed = evidence.ask(name, before, noise)
        now = reconstructed.reencoded.argmax(1)
        values["step"].append((reconstructed.images[:] - before[:]).square().mean((1, 2, 3)).sqrt())
        values["kept"].append((now == classes).float())
        values["stayed"].append((now == previous).float())
        values["layout"].append(statistics(originals, reconstructed)["layout_cosine"])
        images.append(reconstructed.images)
        before, previous = reconstructed.images, now
    return Walk(images, {key: torch.stack(each) for key, each in values.items()}, previous)


def _estimate(key: str, values: Tensor, seed: int) -> Estimate:
    return wilson(int(values.sum()), len(values)) if key in ("kept", "stayed") else bootstrap(values, seed)


def _numbers(config: Config, evidence: Evidence, walks: dict[str, Walk]) -> Iterator[Result]:
    columns = (
        Column("inverter"),
        Column("settled", None, f"share of images that the last round moves by less than {config.still}"),
        Column("class kept", "higher", "share whose class is still the original's after the last round"),
        Column("layout cosine", "higher", "between the last round and the original"),
        Column("lost since round 1", "lower", "layout cosine of the first round less that of the last"),
        Column("classes left", None, "number of classes of the last round's images"),
    )
    rows: list[tuple[Cell, ...]] = []
    for name, walk in walks.items():
        last = {key: values[-1] for key, values in walk.values.items()}
        n = len(last["step"])
        settled = wilson(int((last["step"] < config.still).sum()), n)
        same_class = _estimate("kept", last["kept"], evidence.seed)
        near = _estimate("layout", last["layout"], evidence.seed)
        lost = bootstrap(walk.values["layout"][0] - last["layout"], evidence.seed)
        left = len(walk.classes.unique())
        rows.append((name, settled, same_class, near, lost, left))
        yield Record("settled", name, settled, "share", None)
        yield Record("class_after_rounds", name, same_class, "share", "higher")
        yield Record("layout_after_rounds", name, near, "", "higher")
        yield Record("layout_lost_in_rounds", name, lost, "", "lower")
        first = walk.values["kept"][0].mean()
        yield Finding(
            f"{name}: after {config.rounds} rounds {settled.value:.0%} of images have settled, the class is still the "
            f"original's in {same_class.value:.0%} ({same_class.low:.0%} to {same_class.high:.0%}; "
            f"{first:.0%} after one round), and the layout cosine to the original is {near.value:.2f}, "
            f"{lost.value:.2f} less than after one round ({lost.low:.2f} to {lost.high:.2f})."
        )
    caption = f"After {config.rounds} rounds, with 95 % intervals over images."
    yield Table("fixed-point", "After the last round", caption, columns, tuple(rows))
    metrics = (
        MetricInfo("class_after_rounds", "class kept", "higher", "by the inverter's own classifier", unit="share"),
        MetricInfo("layout_after_rounds", "layout cosine", "higher", "to the original"),
        MetricInfo("layout_lost_in_rounds", "layout lost since round 1", "lower", "of the layout cosine"),
    )
    values = {
        name: {
            "class_after_rounds": walk.values["kept"][-1],
            "layout_after_rounds": walk.values["layout"][-1],
            "layout_lost_in_rounds": walk.values["layout"][0] - walk.values["layout"][-1],
        }
        for name, walk in walks.items()
    }
    what = f"The first inverter less the second after {config.rounds} rounds of the same images."
    yield from report_pairs(metrics, pair_tests(metrics, values, evidence.seed), what)
