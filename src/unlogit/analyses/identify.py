"""Finding a reconstruction's original among others, and the bits about the single picture that this proves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor
from torch.nn import functional as F

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Number, Result, Table
from unlogit.analyses._evidence import Pictures
from unlogit.analyses._style import INK, colour, panels, style
from unlogit.intervals import Estimate, enclosing, wilson
from unlogit.metrics.identification import Lineups, bits, entropy, fano, named, over_lineups, ranks
from unlogit.metrics.pixel import layout
from unlogit.outside import figure_text
from unlogit.settings import Several

TITLE = "Identification"
PLACE = 30
QUESTION = "Can the original be told from others by its reconstruction, and how many bits beyond the class is that?"

TOGETHER = "together"


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """How long the line-ups are."""

    among: Several = 32
    """Originals of any class that the own one is told from; there are at least two line-ups of them, or they get
    shorter."""
    among_class: Several = 8
    """The same, all of the class that the classifier predicts for the original."""


@dataclass(frozen=True)
class Outcome:
    """What came of line-ups of one kind for one inverter, by measure and for all measures together.

    Attributes:
        among: originals in a line-up.
        accuracy: how often the own one fits best.
        rank: its place as a share: 0 first, 0.5 chance, 1 last.
        bits: the lower bound.
    """

    among: int
    accuracy: dict[str, Estimate]
    rank: dict[str, Estimate]
    bits: dict[str, Estimate]


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yields the bits as a figure, tables for both kinds of line-up, and what a label alone is worth."""
    n = len(evidence)
    if n < 4:
        return
    anyone = Lineups.drawn(torch.zeros(n, dtype=torch.int64), min(config.among, n // 2), evidence.seed)
    outcomes: dict[str, dict[str, Outcome]] = {}
    labels: dict[str, tuple[Estimate, float]] = {}
    spaces = {name: _spaces(evidence, name) for name in evidence.inverters}
    for name in evidence.inverters:
        classes = evidence.encoded(name).logits.argmax(1)
        outcomes[name] = {"any": _ask(anyone, spaces[name], evidence.seed)}
        fellows = Lineups.drawn(classes, config.among_class, evidence.seed)
        if len(fellows.places) >= 2:
            outcomes[name]["class"] = _ask(fellows, spaces[name], evidence.seed)
        labels[name] = _label(evidence, name), entropy(classes)
    with style():
        yield Figure("bits", "Bits about the single picture", _caption(config, outcomes), _draw(evidence, outcomes))
    for kind, title in (("any", "Among originals of any class"), ("class", "Among originals of the same class")):
        found = {name: each[kind] for name, each in outcomes.items() if kind in each}
        if found:
            yield _table(kind, title, found)
    yield _bits_table(labels, outcomes)
    for name, each in outcomes.items():
        yield Number("label_bits", name, labels[name][0], "bits", "higher")
        for kind, outcome in each.items():
            for measure, share in outcome.accuracy.items():
                yield Number(f"identified_{kind}_{measure}", name, share, "share", "higher")
            for measure, proven in outcome.bits.items():
                yield Number(f"bits_{kind}_{measure}", name, proven, "bits", "higher")
        yield _finding(name, each)


def _spaces(evidence: Evidence, name: str) -> dict[str, tuple[Tensor, Tensor]]:
    """By measure, a vector for each reconstruction and each original, between which distances are taken."""
    made, originals = evidence.reconstructed(name).pictures, evidence.originals

    def layouts(pictures: Pictures) -> Tensor:
        return torch.cat([layout(images) for images in pictures.chunks()])

    spaces = {
        "pixels": (made[:].flatten(1), originals[:].flatten(1)),
        "layout": _directions(layouts(made), layouts(originals)),
    }
    if evidence.features is not None:
        spaces["features"] = _directions(evidence.embed(made), evidence.embed(originals))
    return spaces


def _directions(made: Tensor, originals: Tensor) -> tuple[Tensor, Tensor]:
    """Both less the originals' mean, at length one: so that distances order as cosines do."""
    centre = originals.mean(0)
    return F.normalize(made - centre, dim=1), F.normalize(originals - centre, dim=1)


def _ask(lineups: Lineups, spaces: dict[str, tuple[Tensor, Tensor]], seed: int) -> Outcome:
    among = lineups.among
    scores = {measure: lineups.similarity(made, originals) for measure, (made, originals) in spaces.items()}
    accuracy, rank = {}, {}
    for measure, score in scores.items():
        accuracy[measure] = over_lineups(named(score), 0, 1)
        rank[measure] = over_lineups(ranks(score) / (among - 1), 0, 1)
    combined = {**scores, TOGETHER: torch.stack(list(scores.values()))}
    proven = {m: over_lineups(bits(s, seed), -math.inf, math.log2(among)) for m, s in combined.items()}
    return Outcome(among, accuracy, rank, proven)


def _label(evidence: Evidence, name: str) -> Estimate:
    """Bits about the predicted class that its reconstruction proves to keep, by Fano from the agreement."""
    made = evidence.reconstructed(name)
    asked = made.logits.argmax(1)
    share = wilson(int((made.reencoded.argmax(1) == asked).sum()), len(asked))
    worth, classes = entropy(asked), made.logits.shape[1]

    def proven(agreement: float) -> float:
        # Fano for classes of any frequency: what is known is what there was less what may be left open.
        return max(0.0, worth - (math.log2(classes) - fano(agreement, classes)))

    return enclosing(proven(share.value), proven(share.low), proven(share.high), share.n)


def _table(kind: str, title: str, outcomes: dict[str, Outcome]) -> Table:
    measures = list(next(iter(outcomes.values())).accuracy)
    among = next(iter(outcomes.values())).among
    columns = [Column("inverter")]
    for m in measures:
        columns.append(Column(f"found by {m}", "higher", f"how often the own original is the nearest by {m}"))
        columns.append(Column(f"place by {m}", "lower", "where it stands among all: 0 first, 0.5 by chance, 1 last"))
    rows: list[tuple[Cell, ...]] = []
    for name, outcome in outcomes.items():
        cells = [cell for m in measures for cell in (outcome.accuracy[m], outcome.rank[m])]
        rows.append((name, *cells))
    n = next(iter(outcomes.values())).accuracy[measures[0]].n
    caption = (
        f"Line-ups of {among}, so {1 / among:.3f} by chance; {n:,} pictures, with Student's 95 % intervals over "
        "line-ups."
    )
    if kind == "class":
        caption += (
            " All of a line-up have the class that the inverter's own classifier predicts; what a class has beyond "
            "whole line-ups is left out."
        )
    return Table(kind, title, caption, tuple(columns), tuple(rows))


def _bits_table(labels: dict[str, tuple[Estimate, float]], outcomes: dict[str, dict[str, Outcome]]) -> Table:
    columns = [
        Column("inverter"),
        Column("the label's worth", None, "entropy of the classes that the classifier predicts for the originals"),
        Column("of the label", "higher", "how much of that the reconstruction's own class keeps, by Fano's inequality"),
    ]
    kinds = {kind: each[kind].among for each in outcomes.values() for kind in each}
    for kind, among in kinds.items():
        title = "of the picture" if kind == "any" else "beyond the label"
        columns.append(Column(title, "higher", f"InfoNCE over line-ups of {among}, at most {math.log2(among):.0f}"))
    rows: list[tuple[Cell, ...]] = []
    for name, each in outcomes.items():
        proven = [each[kind].bits[TOGETHER] if kind in each else None for kind in kinds]
        label, worth = labels[name]
        rows.append((name, round(worth, 2), label, *proven))
    caption = (
        "Lower bounds of the mutual information, in bits. Of the picture and beyond the label: InfoNCE (Oord et al. "
        "2018; Poole et al. 2019), log2 N less the cross-entropy of naming the own original among N by all measures "
        "together, weighted by temperatures fitted on other pictures; it cannot exceed log2 N, and a value just below "
        "0 is a 0. Beyond the label, all N are of one predicted class. Of the label: Fano (1961), from how often the "
        "reconstruction keeps the class."
    )
    return Table("bits", "How many bits", caption, tuple(columns), tuple(rows))


def _caption(config: Config, outcomes: dict[str, dict[str, Outcome]]) -> str:
    caption = (
        "What the reconstruction proves to hold about which picture it was made from, by what is compared; lines are "
        "95 % intervals. A line-up of N cannot prove more than log2 N."
    )
    if not any("class" in each for each in outcomes.values()):
        caption += f" No class fills two line-ups of {config.among_class}: give more pictures for the same class."
    return caption


def _draw(evidence: Evidence, outcomes: dict[str, dict[str, Outcome]]) -> Drawing:
    kinds = list(dict.fromkeys(kind for each in outcomes.values() for kind in each))
    names = list(evidence.inverters)
    measures = list(next(iter(outcomes.values()))["any"].bits)
    figure, axes = panels(1, len(kinds), 0.7 + len(measures) * (0.12 + 0.11 * len(names)))
    for axis, kind in zip(axes, kinds, strict=True):
        for place, name in enumerate(names):
            if kind not in outcomes[name]:
                continue
            for row, measure in enumerate(measures):
                e = outcomes[name][kind].bits[measure]
                y = row + (place - (len(names) - 1) / 2) * 0.7 / len(names)
                axis.plot([e.low, e.high], [y, y], color=colour(place), linewidth=2.2, solid_capstyle="round")
                axis.plot(e.value, y, "o", color=colour(place), markersize=4.5, label="" if row else figure_text(name))
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


def _finding(name: str, each: dict[str, Outcome]) -> Finding:
    text = []
    for kind, outcome in each.items():
        best = max(outcome.accuracy, key=lambda m: outcome.accuracy[m].value)
        share, proven = outcome.accuracy[best], outcome.bits[TOGETHER]
        whom = f"{outcome.among} of {'any' if kind == 'any' else 'the same'} class"
        bound = f"at least {proven.value:.2f} bits" if proven.low > 0 else "no bits for certain"
        text.append(
            f"among {whom} its original is named in {share.value:.1%} ({best}; {1 / outcome.among:.1%} by chance), "
            f"which proves {bound} ({proven.low:.2f} to {proven.high:.2f})"
        )
    return Finding(f"{name}: {'; '.join(text)}.")
