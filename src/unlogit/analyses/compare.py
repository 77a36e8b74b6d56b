"""Comparison of two classifiers on the same images: the images and measures in which they differ most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._fidelity import MetricInfo, common_fidelity, common_metrics, listed
from unlogit.analyses._paired import FAMILY, format_p, format_share, pair_tests, report_pairs
from unlogit.drawing import INK, Block, colour, panels, sheet, style
from unlogit.outside import figure_text, short_names
from unlogit.settings import Count
from unlogit.statistics import ALPHA, Estimate, holm, weighted_bootstrap, wilson

TITLE = "Comparison"
QUESTION = "For which images do the reconstructions from two classifiers differ most?"
ALL = "all measures together"


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Number of images shown."""

    shown: Count = 5
    """Number of images shown per inverter."""


@dataclass(frozen=True)
class Contrast:
    """Fidelity of inverter `a` less that of `b` for each image, in measures that are comparable between them.

    Attributes:
        metrics: the measures.
        gains: differences by measure, in standard deviations over both, N; above 0 where `a` is better.
        values: values of a and b by measure, each N.
    """

    a: str
    b: str
    metrics: tuple[MetricInfo, ...]
    gains: dict[str, Tensor]
    values: dict[str, tuple[Tensor, Tensor]]

    @property
    def total(self) -> Tensor:
        """The mean gain over measures, N."""
        return torch.stack(list(self.gains.values())).mean(0)


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield for the first classifier and each other one the images that differ most; nothing with one classifier.

    Compared are the first inverters of each that read the same layer.
    """
    names = _rivals(evidence)
    if len(names) < 2:
        return
    metrics = common_metrics(evidence)
    values = {name: common_fidelity(evidence, name) for name in names}
    rows: list[tuple[Cell, ...]] = []
    for b in names[1:]:
        contrast = _contrast(metrics, values[names[0]], values[b], names[0], b)
        order = contrast.total.argsort(descending=True)
        yield _images(config, evidence, contrast, order)
        yield _ranking(config, evidence, contrast, order)
        with style():
            caption = "One dot per image; both are equal on the line, and an arrow shows which direction is better."
            index = list(evidence.inverters).index(b)
            yield Figure(f"scatter-{index}", f"{names[0]} against {b}", caption, _scatter(evidence, contrast))
        correlations = {m: _correlation(*contrast.values[m.name], evidence.seed) for m in metrics}
        rows.append((b, *correlations.values()))
        for m, e in correlations.items():
            yield Record(f"correlation_{m.name}_with_{b}", names[0], e, "", None)
        yield from _shares(evidence, contrast)
        spreads = {m: float(contrast.gains[m.name].std()) for m in metrics}
        most: MetricInfo = max(spreads, key=lambda m: spreads[m])
        parts = ", ".join(f"{e.value:.2f} ({m.title})" for m, e in correlations.items())
        yield Finding(
            f"What {names[0]} keeps of an image correlates with what {b} keeps by {parts}. Their difference varies "
            f"most in {most.title}."
        )
    caption = f"Correlations over {len(evidence):,} images, with 95 % bootstrap CIs."
    columns = (Column(f"{names[0]} and"), *(Column(f"correlation of {m.title}") for m in metrics))
    yield Table("agreement", "Do they keep the same images?", caption, columns, tuple(rows))
    what = f"The first inverter less the second on the same {len(evidence):,} images."
    yield from report_pairs(metrics, pair_tests(metrics, values, evidence.seed), what)


def _shares(evidence: Evidence, c: Contrast) -> Iterator[Result]:
    """Yield of how many images inverter `a` keeps more, by each measure and by all together."""
    from scipy.stats import binomtest  # Here, since it takes most of a second to import.

    gains = {m.title: c.gains[m.name] for m in c.metrics} | {ALL: c.total}
    # Of images that both keep equally much, neither is counted.
    apart = {title: int((gain != 0).sum()) for title, gain in gains.items()}
    more = {title: int((gain > 0).sum()) for title, gain in gains.items()}
    p = [float(binomtest(more[t], apart[t]).pvalue) if apart[t] else 1.0 for t in gains]
    corrected = dict(zip(gains, holm(p), strict=True))
    shares = {title: wilson(more[title], apart[title]) for title in gains if apart[title]}
    if not shares:
        return
    rows: list[tuple[Cell, ...]] = [
        (t, share, format_p(corrected[t]), "differs significantly" if corrected[t] < ALPHA else "not significant")
        for t, share in shares.items()
    ]
    index = list(evidence.inverters).index(c.b)
    columns = (Column("by"), Column(f"more kept by {c.a}"), Column("p (Holm)"), Column("verdict"))
    caption = (
        f"Share of {len(evidence):,} images of which {c.a} keeps more than {c.b}, with Wilson's 95 % CI and a sign "
        "test against one half. Only measures that mean the same for both inverters count, so no score of their own "
        f"classifiers' logits; all together by the mean, each in its own standard deviations. {FAMILY}."
    )
    yield Table(f"shares-{index}", f"Images that {c.a} keeps more of than {c.b}", caption, columns, tuple(rows))
    named = {m.title: m.name for m in c.metrics} | {ALL: "all"}
    for title, share in shares.items():
        name = f"keeps_more_than_{c.b}" + ("" if title == ALL else f"_{named[title]}")
        yield Record(name, c.a, share, "share", None)
    parts = [
        f"{format_share(share, f', {verdict}')} by {title}"
        for (title, share), (*_, verdict) in zip(shares.items(), rows, strict=True)
    ]
    yield Finding(f"{c.a} keeps more than {c.b} of {listed(parts)}, of {len(evidence):,} images.")


def _rivals(evidence: Evidence) -> list[str]:
    """Return the first inverter of the first classifier, and of each other the first that reads the same layer."""
    first = next(iter(evidence.inverters))
    layer = evidence.inverters[first].representation.layer
    rivals = []
    for sharing in evidence.classifiers().values():
        same = [name for name in sharing if evidence.inverters[name].representation.layer == layer]
        rivals += same[:1]
    return rivals


def _contrast(
    metrics: tuple[MetricInfo, ...], of_a: dict[str, Tensor], of_b: dict[str, Tensor], a: str, b: str
) -> Contrast:
    values = {m.name: (of_a[m.name].double(), of_b[m.name].double()) for m in metrics}
    gains = {}
    for m in metrics:
        x, y = values[m.name]
        sign = 1 if m.better == "higher" else -1
        gains[m.name] = sign * (x - y) / torch.cat([x, y]).std().clamp(min=1e-12)
    return Contrast(a, b, metrics, gains, values)


def _images(config: Config, evidence: Evidence, c: Contrast, order: Tensor) -> Figure:
    blocks = []
    shown = min(config.shown, len(order) // 2)
    for title, indices in ((c.a, order[:shown]), (c.b, order.flip(0)[:shown])):
        columns = {"original": evidence.originals.bytes[indices]}
        columns |= {name: evidence.reconstructed(name).images.bytes[indices] for name in (c.a, c.b)}
        ink = colour(list(evidence.inverters).index(title))
        blocks.append(Block(f"more kept by {title}", ink, tuple(columns), torch.stack(list(columns.values()), 1)))
    index = list(evidence.inverters).index(c.b)
    caption = f"The {shown} of {len(evidence):,} images per inverter on which they differ most; the extremes first."
    with style():
        return Figure(f"images-{index}", f"Where {c.a} and {c.b} differ most", caption, sheet(blocks))


def _ranking(config: Config, evidence: Evidence, c: Contrast, order: Tensor) -> Table:
    rows: list[tuple[Cell, ...]] = []
    names = short_names(evidence.source.class_names)
    shown = min(config.shown, len(order) // 2)
    for position in [*order[:shown].tolist(), *order[-shown:].tolist()]:
        gains = {m: float(c.gains[m.name][position]) for m in c.metrics}
        most = max(gains, key=lambda m: abs(gains[m]))
        label = int(evidence.labels[position])
        kind = names[label] if 0 <= label < len(names) else ""
        values = [round(g, 2) for g in gains.values()]
        index = int(evidence.indices[position])
        rows.append((index, kind, round(float(c.total[position]), 2), most.title, *values))
    columns = (
        Column("image", None, f"its index in {evidence.source.spec}"),
        Column("class"),
        Column("gain", None, "mean over measures"),
        Column("most by", None, "the measure in which the two differ most"),
        *(Column(m.title) for m in c.metrics),
    )
    caption = (
        f"How much more {c.a} keeps than {c.b}, in standard deviations of each measure over images and both "
        "inverters; below 0 where it keeps less. The extremes of both sides."
    )
    return Table(f"ranking-{list(evidence.inverters).index(c.b)}", f"{c.a} less {c.b}", caption, columns, tuple(rows))


def _correlation(x: Tensor, y: Tensor, seed: int) -> Estimate:
    """Return Pearson's correlation with a bootstrap interval over images."""

    def statistic(weights: Tensor) -> Tensor:
        def mean(v: Tensor) -> Tensor:
            return weights @ v

        mx, my = mean(x), mean(y)
        covariance = mean(x * y) - mx * my
        spread = (mean(x * x) - mx * mx).clamp(min=0) * (mean(y * y) - my * my).clamp(min=0)
        return covariance / spread.sqrt().clamp(min=1e-12)

    return weighted_bootstrap(statistic, len(x), seed)


def _scatter(evidence: Evidence, c: Contrast) -> Drawing:
    figure, axes = panels(1, len(c.metrics), 2.9)
    names = list(evidence.inverters)
    for axis, m in zip(axes, c.metrics, strict=True):
        x, y = c.values[m.name]
        low, high = float(torch.minimum(x, y).min()), float(torch.maximum(x, y).max())
        axis.plot([low, high], [low, high], color=INK, linewidth=0.8)
        axis.scatter(x, y, s=5, color=INK, alpha=0.45, linewidths=0)
        axis.set_title(m.title + (" ↑" if m.better == "higher" else " ↓"))
        axis.set_xlabel(figure_text(c.a), color=colour(names.index(c.a)))
        axis.locator_params(nbins=4)
    axes[0].set_ylabel(figure_text(c.b), color=colour(names.index(c.b)))
    return figure
