"""Two classifiers on the same pictures: which pictures differ most in what was kept of them, and by which measure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Number, Result, Table
from unlogit.analyses._fidelity import SHORT, Merit, fidelity
from unlogit.analyses._sheet import Block, sheet
from unlogit.analyses._style import INK, colour, panels, style
from unlogit.intervals import Estimate, weighted_bootstrap, wilson
from unlogit.outside import figure_text, short_names
from unlogit.settings import Count

TITLE = "Comparison"
PLACE = 25
QUESTION = "Which pictures do two classifiers differ on most, in what can be reconstructed of them?"

MEASURES = tuple(m for m in SHORT if not m.proportion)
"""By which pictures are ranked."""


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """How many of the most different pictures are shown."""

    shown: Count = 5
    """To either side."""


@dataclass(frozen=True)
class Contrast:
    """How much more of each picture inverter `a` kept than `b`.

    Attributes:
        gains: by measure, in standard deviations of that measure over both, N; above 0 where `a` is nearer.
        values: by measure, of a and b, each N.
    """

    a: str
    b: str
    gains: dict[str, Tensor]
    values: dict[str, tuple[Tensor, Tensor]]

    @property
    def total(self) -> Tensor:
        """The mean gain over measures, N."""
        return torch.stack(list(self.gains.values())).mean(0)


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yields for the first classifier and each other one the pictures that differ most; nothing with one classifier.

    Compared are the first inverters of each that read the same tap.
    """
    names = _rivals(evidence)
    rows: list[tuple[Cell, ...]] = []
    for b in names[1:]:
        contrast = _contrast(fidelity(evidence, names[0]), fidelity(evidence, b), names[0], b)
        order = contrast.total.argsort(descending=True)
        yield _pictures(config, evidence, contrast, order)
        yield _ranking(config, evidence, contrast, order)
        with style():
            caption = "A dot a picture; on the line both kept equally much, and an arrow says where more is kept."
            place = list(evidence.inverters).index(b)
            yield Figure(f"scatter-{place}", f"{names[0]} against {b}", caption, _scatter(evidence, contrast))
        cells, numbers, finding = _agreement(evidence, contrast)
        rows.append((b, *cells))
        yield from numbers
        yield finding
    if rows:
        caption = (
            f"{len(evidence):,} pictures, with 95 % intervals: Wilson's for the share, bootstrap for correlations of a "
            f"measure over pictures. Pictures that {names[0]} keeps more of: by the mean of all measures, each in its "
            "own standard deviations."
        )
        heads = (Column(f"{names[0]} and"), Column(f"more kept by {names[0]}"))
        yield Table(
            "agreement",
            "Do they keep the same pictures?",
            caption,
            (*heads, *(Column(f"correlation of {m.title}") for m in MEASURES)),
            tuple(rows),
        )


def _rivals(evidence: Evidence) -> list[str]:
    """The first inverter of the first classifier, and of each other the first that reads the same tap."""
    first = next(iter(evidence.inverters))
    tap = evidence.inverters[first].representation.tap
    rivals = []
    for sharing in evidence.classifiers().values():
        same = [name for name in sharing if evidence.inverters[name].representation.tap == tap]
        rivals += same[:1]
    return rivals


def _contrast(of_a: dict[str, Tensor], of_b: dict[str, Tensor], a: str, b: str) -> Contrast:
    values = {m.name: (of_a[m.name].double(), of_b[m.name].double()) for m in MEASURES}
    gains = {}
    for m in MEASURES:
        x, y = values[m.name]
        sign = 1 if m.better == "higher" else -1
        gains[m.name] = sign * (x - y) / torch.cat([x, y]).std().clamp(min=1e-12)
    return Contrast(a, b, gains, values)


def _pictures(config: Config, evidence: Evidence, c: Contrast, order: Tensor) -> Figure:
    blocks = []
    shown = min(config.shown, len(order) // 2)
    for title, places in ((c.a, order[:shown]), (c.b, order.flip(0)[:shown])):
        columns = {"original": evidence.originals.bytes[places]}
        columns |= {name: evidence.reconstructed(name).pictures.bytes[places] for name in (c.a, c.b)}
        ink = colour(list(evidence.inverters).index(title))
        blocks.append(Block(f"more kept by {title}", ink, tuple(columns), torch.stack(list(columns.values()), 1)))
    place = list(evidence.inverters).index(c.b)
    caption = f"The {shown} of {len(evidence):,} pictures to either side on which they differ most; the extremes first."
    with style():
        return Figure(f"pictures-{place}", f"Where {c.a} and {c.b} part", caption, sheet(blocks))


def _ranking(config: Config, evidence: Evidence, c: Contrast, order: Tensor) -> Table:
    rows: list[tuple[Cell, ...]] = []
    names = short_names(evidence.source.class_names)
    shown = min(config.shown, len(order) // 2)
    for place in [*order[:shown].tolist(), *order[-shown:].tolist()]:
        gains = {m: float(c.gains[m.name][place]) for m in MEASURES}
        most = max(gains, key=lambda m: abs(gains[m]))
        label = int(evidence.labels[place])
        kind = names[label] if 0 <= label < len(names) else ""
        values = [round(g, 2) for g in gains.values()]
        index = int(evidence.indices[place])
        rows.append((index, kind, round(float(c.total[place]), 2), most.title, *values))
    columns = (
        Column("picture", None, f"its place in {evidence.source.spec}"),
        Column("class"),
        Column("gain", None, "mean over measures"),
        Column("most by", None, "the measure in which the two differ most"),
        *(Column(m.title) for m in MEASURES),
    )
    caption = (
        f"How much more {c.a} keeps than {c.b}, in standard deviations of each measure over pictures and both "
        "inverters; below 0 where it keeps less. The extremes of both sides."
    )
    return Table(f"ranking-{list(evidence.inverters).index(c.b)}", f"{c.a} less {c.b}", caption, columns, tuple(rows))


def _correlation(x: Tensor, y: Tensor, seed: int) -> Estimate:
    """Pearson's, with a bootstrap interval over pictures."""

    def statistic(weights: Tensor) -> Tensor:
        def mean(v: Tensor) -> Tensor:
            return weights @ v

        mx, my = mean(x), mean(y)
        covariance = mean(x * y) - mx * my
        spread = (mean(x * x) - mx * mx).clamp(min=0) * (mean(y * y) - my * my).clamp(min=0)
        return covariance / spread.sqrt().clamp(min=1e-12)

    return weighted_bootstrap(statistic, len(x), seed)


def _agreement(evidence: Evidence, c: Contrast) -> tuple[list[Estimate], list[Number], Finding]:
    more = wilson(int((c.total > 0).sum()), len(c.total))
    correlations = {m: _correlation(*c.values[m.name], evidence.seed) for m in MEASURES}
    numbers = [Number(f"keeps_more_than_{c.b}", c.a, more, "share", None)]
    numbers += [Number(f"correlation_{m.name}_with_{c.b}", c.a, e, "", None) for m, e in correlations.items()]
    parts = ", ".join(f"{e.value:.2f} ({m.title})" for m, e in correlations.items())
    spreads = {m: float(c.gains[m.name].std()) for m in MEASURES}
    most: Merit = max(spreads, key=lambda m: spreads[m])
    text = (
        f"{c.a} keeps more than {c.b} of {more.value:.0%} of pictures ({more.low:.0%} to {more.high:.0%}); what one "
        f"keeps correlates with what the other does by {parts}. Their difference varies most in {most.title}."
    )
    return [more, *correlations.values()], numbers, Finding(text)


def _scatter(evidence: Evidence, c: Contrast) -> Drawing:
    figure, axes = panels(1, len(MEASURES), 2.9)
    names = list(evidence.inverters)
    for axis, m in zip(axes, MEASURES, strict=True):
        x, y = c.values[m.name]
        low, high = float(torch.minimum(x, y).min()), float(torch.maximum(x, y).max())
        axis.plot([low, high], [low, high], color=INK, linewidth=0.8)
        axis.scatter(x, y, s=5, color=INK, alpha=0.45, linewidths=0)
        axis.set_title(m.title + (" ↑" if m.better == "higher" else " ↓"))
        axis.set_xlabel(figure_text(c.a), color=colour(names.index(c.a)))
        axis.locator_params(nbins=4)
    axes[0].set_ylabel(figure_text(c.b), color=colour(names.index(c.b)))
    return figure
