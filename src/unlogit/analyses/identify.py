"""Identification of a reconstruction's original among others, and the bits of information that this proves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor
from torch.nn import functional as F

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._evidence import Images
from unlogit.analyses._fidelity import MetricInfo
from unlogit.analyses._paired import report_pairs
from unlogit.drawing import INK, colour, panels, style
from unlogit.metrics.identification import (
    Lineups,
    bits,
    difference_over_lineups,
    entropy,
    fano,
    named,
    over_lineups,
    ranks,
)
from unlogit.metrics.pixel import layout
from unlogit.outside import figure_text
from unlogit.settings import Several
from unlogit.statistics import Difference, Estimate, enclosing, wilson

TITLE = "Identification"
QUESTION = "Can the original be identified by its reconstruction, and how many bits beyond the class is that?"

TOGETHER = "together"
LEAST = 8
"""Minimum number of line-ups for a statement about bits; Student's interval over fewer is too wide."""


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Sizes and classes of the line-ups."""

    among: Several = 32
    """Number of originals, of any class, in a line-up. It is reduced if there are too few images for two line-ups."""
    among_class: Several = 8
    """Number of originals in a line-up of one class."""
    classes: Literal["true", "predicted"] = "true"
    """Classes of the line-ups of one class: "true" is the labels of the images; "predicted" is the class that the first
    inverter's classifier predicts, which is also used for images without labels. Line-ups are the same for all
    inverters."""


@dataclass(frozen=True)
class Outcome:
    """Results of one kind of line-ups for one inverter, by measure and for all measures together.

    Attributes:
        among: number of originals in a line-up.
        accuracy: share of reconstructions whose own original fits best.
        rank: relative rank of the own original: 0 first, 0.5 chance, 1 last.
        bits: lower bound of the information.
        proven: contribution of each image by all measures together, in bits, groups x N.
    """

    among: int
    accuracy: dict[str, Estimate]
    rank: dict[str, Estimate]
    bits: dict[str, Estimate]
    proven: Tensor

    @property
    def enough(self) -> bool:
        """Whether there are enough line-ups for a statement about bits."""
        return len(self.proven) >= LEAST


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield the bits as a figure, tables for both kinds of line-up, what a label is worth, and inverters compared."""
    if len(evidence) < 4:
        return
    lineups, whose = _lineups(config, evidence)
    spaces = {name: _spaces(evidence, name) for name in evidence.inverters}
    outcomes = {
        name: {kind: _ask(each, spaces[name], evidence.seed) for kind, each in lineups.items()}
        for name in evidence.inverters
    }
    labels = {
        name: (_label(evidence, name), entropy(evidence.encoded(name).logits.argmax(1))) for name in evidence.inverters
    }
    with style():
        yield Figure("bits", "Bits about the single image", _caption(config, outcomes), _draw(evidence, outcomes))
    for kind, title in (("any", "Among originals of any class"), ("class", "Among originals of the same class")):
        if kind in lineups:
            yield _table(kind, title, {name: each[kind] for name, each in outcomes.items()}, whose)
    yield _bits_table(evidence, labels, outcomes, whose)
    for name, each in outcomes.items():
        yield Record("label_bits", name, labels[name][0], "bits", "higher")
        for kind, outcome in each.items():
            for measure, share in outcome.accuracy.items():
                yield Record(f"identified_{kind}_{measure}", name, share, "share", "higher")
            for measure, proven in outcome.bits.items():
                yield Record(f"bits_{kind}_{measure}", name, proven, "bits", "higher")
    for kind in lineups:
        of_kind = {name: each[kind] for name, each in outcomes.items() if kind in each}
        if all(outcome.enough for outcome in of_kind.values()):
            yield _finding(of_kind, "any class" if kind == "any" else f"the same {whose}")
    yield from _compare(outcomes, whose)


def proven_bits(config: Config, evidence: Evidence, name: str) -> dict[str, Tensor]:
    """Return what each image's line-up proves by all measures together for one inverter, in bits, groups x N.

    By kind of line-up: "any", and "class" where classes fill two. They are the same for all inverters of the same
    images, where these have labels, so that values of different inverters can be paired.
    """
    lineups, _ = _lineups(config, evidence)
    spaces = _spaces(evidence, name)
    return {kind: _ask(each, spaces, evidence.seed).proven for kind, each in lineups.items()}


def _lineups(config: Config, evidence: Evidence) -> tuple[dict[str, Lineups], str]:
    """Return the line-ups by kind, and what their class is called."""
    n = len(evidence)
    lineups = {"any": Lineups.drawn(torch.zeros(n, dtype=torch.int64), min(config.among, n // 2), evidence.seed)}
    classes, whose = _classes(config, evidence)
    fellows = Lineups.drawn(classes, config.among_class, evidence.seed)
    if len(fellows.places) >= 2:
        lineups["class"] = fellows
    return lineups, whose


def _classes(config: Config, evidence: Evidence) -> tuple[Tensor, str]:
    """Return one class per image, the same for all inverters, and what it is called."""
    if config.classes == "true" and bool((evidence.labels >= 0).all()):
        return evidence.labels, "true class"
    first = next(iter(evidence.inverters))
    return evidence.encoded(first).logits.argmax(1), f"class predicted by the classifier of {first}"


def _compare(outcomes: dict[str, dict[str, Outcome]], whose: str) -> Iterator[Result]:
    """Yield the bits of the inverters compared over the same line-ups."""
    kinds = [kind for kind, outcome in next(iter(outcomes.values())).items() if outcome.enough]
    called = {"any": "bits of the image", "class": f"bits beyond the {whose}"}
    metrics = [MetricInfo(f"bits_{kind}_{TOGETHER}", called[kind], "higher", "", unit="bits") for kind in kinds]
    tests: dict[tuple[str, str, str], Difference] = {
        (a, b, f"bits_{kind}_{TOGETHER}"): difference_over_lineups(outcomes[a][kind].proven, outcomes[b][kind].proven)
        for a, b in combinations(outcomes, 2)
        for kind in kinds
    }
    yield from report_pairs(metrics, tests, "The first inverter less the second over the same line-ups (Student's).")


def _spaces(evidence: Evidence, name: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Return by measure the vectors of reconstructions and originals, between which distances are taken."""
    reconstructions, originals = evidence.reconstructed(name).images, evidence.originals

    def layouts(those: Images) -> Tensor:
        return torch.cat([layout(images) for images in those.chunks()])

    spaces = {
        "pixels": (reconstructions[:].flatten(1), originals[:].flatten(1)),
        "layout": _directions(layouts(reconstructions), layouts(originals)),
    }
    if evidence.features is not None:
        spaces["features"] = _directions(evidence.embed(reconstructions), evidence.embed(originals))
    return spaces


def _directions(reconstructions: Tensor, originals: Tensor) -> tuple[Tensor, Tensor]:
    """Return both less the originals' mean, at length one, so that distances order as cosines do."""
    centre = originals.mean(0)
    return F.normalize(reconstructions - centre, dim=1), F.normalize(originals - centre, dim=1)


def _ask(lineups: Lineups, spaces: dict[str, tuple[Tensor, Tensor]], seed: int) -> Outcome:
    among = lineups.among
    scores = {
        measure: lineups.similarity(reconstructions, originals)
        for measure, (reconstructions, originals) in spaces.items()
    }
    accuracy, rank = {}, {}
    for measure, score in scores.items():
        accuracy[measure] = over_lineups(named(score), 0, 1)
        rank[measure] = over_lineups(ranks(score) / (among - 1), 0, 1)
    combined = {**scores, TOGETHER: torch.stack(list(scores.values()))}
    proven = {m: bits(s, seed) for m, s in combined.items()}
    bounds = {m: over_lineups(values, -math.inf, math.log2(among)) for m, values in proven.items()}
    return Outcome(among, accuracy, rank, bounds, proven[TOGETHER])


def _label(evidence: Evidence, name: str) -> Estimate:
    """Return a lower bound of the bits about the predicted class that are kept, by Fano from the agreement."""
    reconstructed = evidence.reconstructed(name)
    predicted = reconstructed.logits.argmax(1)
    share = wilson(int((reconstructed.reencoded.argmax(1) == predicted).sum()), len(predicted))
    worth, classes = entropy(predicted), reconstructed.logits.shape[1]

    def proven(agreement: float) -> float:
        # Fano for classes of any frequency: the entropy less the largest possible remaining uncertainty.
        return max(0.0, worth - (math.log2(classes) - fano(agreement, classes)))

    return enclosing(proven(share.value), proven(share.low), proven(share.high), share.n)


def _table(kind: str, title: str, outcomes: dict[str, Outcome], whose: str) -> Table:
    measures = list(next(iter(outcomes.values())).accuracy)
    among = next(iter(outcomes.values())).among
    columns = [Column("inverter")]
    for m in measures:
        columns.append(
            Column(f"identified by {m}", "higher", f"how often the own original is nearest by {m}", 1 / among)
        )
        columns.append(
            Column(f"rank by {m}", "lower", "relative rank of the own original: 0 first, 0.5 by chance, 1 last", 0.5)
        )
    rows: list[tuple[Cell, ...]] = []
    for name, outcome in outcomes.items():
        cells = [cell for m in measures for cell in (outcome.accuracy[m], outcome.rank[m])]
        rows.append((name, *cells))
    n = next(iter(outcomes.values())).accuracy[measures[0]].n
    caption = (
        f"Line-ups of {among}, so {1 / among:.3f} by chance; {n:,} images, with Student's 95 % CIs over line-ups, "
        "which are the same for all inverters."
    )
    if kind == "class":
        caption += f" All of a line-up have one {whose}; images of a class beyond whole line-ups are left out."
    return Table(kind, title, caption, tuple(columns), tuple(rows))


def _bits_table(
    evidence: Evidence, labels: dict[str, tuple[Estimate, float]], outcomes: dict[str, dict[str, Outcome]], whose: str
) -> Table:
    columns = [
        Column("inverter"),
        Column("the label's worth", None, "entropy of the classes that the classifier predicts for the originals"),
        Column("of the label", "higher", "how much of that the reconstruction's own class keeps, by Fano's inequality"),
    ]
    kinds = {kind: each[kind].among for each in outcomes.values() for kind in each}
    for kind, among in kinds.items():
        title = "of the image" if kind == "any" else "beyond the class"
        columns.append(Column(title, "higher", f"InfoNCE over line-ups of {among}; ceiling {_ceiling(among)}", 0))
    rows: list[tuple[Cell, ...]] = []
    measures = [m for m in next(iter(outcomes.values()))["any"].accuracy if m != "features"]
    if evidence.features is not None:
        measures.append(evidence.embedding.name)
    for name, each in outcomes.items():
        proven = [each[kind].bits[TOGETHER] if kind in each else None for kind in kinds]
        label, worth = labels[name]
        rows.append((name, round(worth, 2), label, *proven))
    caption = (
        "Lower bounds of the mutual information, in bits. Of the image and beyond the class: InfoNCE (Oord et al. "
        "2018; Poole et al. 2019), log2 N less the cross-entropy of naming the own original among N by all measures "
        f"together ({', '.join(measures)}; other measures give another bound), weighted by temperatures fitted on "
        "other images; it cannot exceed log2 N, and a value just below 0 is a 0. "
        f"Beyond the class, all N are of one {whose}. Of the label: Fano (1961), from how often the "
        "reconstruction keeps the class that the inverter's own classifier predicts. "
        f"Ceilings: {', '.join(f'{_ceiling(among)} for line-ups of {among}' for among in kinds.values())}."
    )
    return Table("bits", "How many bits", caption, tuple(columns), tuple(rows))


def _caption(config: Config, outcomes: dict[str, dict[str, Outcome]]) -> str:
    caption = (
        "Lower bounds of the information about the image in its reconstruction, by similarity measure; lines are "
        "95 % CIs. A line-up of N cannot prove more than log2 N."
    )
    if not any("class" in each for each in outcomes.values()):
        caption += f" No class fills two line-ups of {config.among_class}: give more images for the same class."
    first = next(iter(outcomes.values()))  # Line-ups are the same for all inverters.
    for outcome in (one for one in first.values() if not one.enough):
        count, among = len(outcome.proven), outcome.among
        caption += f" {count} line-ups of {among} are too few for a statement about bits: give more images."
    return caption


def _draw(evidence: Evidence, outcomes: dict[str, dict[str, Outcome]]) -> Drawing:
    kinds = list(dict.fromkeys(kind for each in outcomes.values() for kind in each))
    names = list(evidence.inverters)
    measures = list(next(iter(outcomes.values()))["any"].bits)
    figure, axes = panels(1, len(kinds), 0.7 + len(measures) * (0.12 + 0.11 * len(names)))
    for axis, kind in zip(axes, kinds, strict=True):
        for index, name in enumerate(names):
            if kind not in outcomes[name]:
                continue
            for row, measure in enumerate(measures):
                e = outcomes[name][kind].bits[measure]
                y = row + (index - (len(names) - 1) / 2) * 0.7 / len(names)
                axis.plot([e.low, e.high], [y, y], color=colour(index), linewidth=2.2, solid_capstyle="round")
                axis.plot(e.value, y, "o", color=colour(index), markersize=4.5, label="" if row else figure_text(name))
        among = next(each[kind].among for each in outcomes.values() if kind in each)
        whom = "any" if kind == "any" else "the same"
        axis.set_title(f"among {among} of {whom} class: at most {math.log2(among):.1f}")
        axis.set(ylim=(len(measures) - 0.5, -0.5))
        axis.axvline(0, color=INK, linewidth=0.8)
        axis.set_yticks(range(len(measures)), measures)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("bits")
    if len(names) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=min(len(names), 5))
    return figure


def _ceiling(among: int) -> str:
    return f"{math.log2(among):.3g} bits"


def _finding(outcomes: dict[str, Outcome], whom: str) -> Finding:
    """Return a sentence on the line-ups of one kind: how often originals are identified, and what that proves."""
    among = next(iter(outcomes.values())).among
    text = []
    for name, outcome in outcomes.items():
        best = max(outcome.accuracy, key=lambda m: outcome.accuracy[m].value)
        proven = outcome.bits[TOGETHER]
        bound = f"at least {proven.value:.2f} bits" if proven.low > 0 else "no bits for certain"
        text.append(
            f"in {100 * outcome.accuracy[best].value:.1f} % by {best} for {name}, which proves {bound} "
            f"(95 % CI {proven.low:.2f} to {proven.high:.2f})"
        )
    return Finding(
        f"Among {among} of {whom}, the original is identified {'; '.join(text)}. By chance it is in "
        f"{100 / among:.1f} %; the ceiling is {_ceiling(among)}."
    )
