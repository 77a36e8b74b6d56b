"""Figure 6 of the paper: reconstructions of misclassified images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._fidelity import SHORT, Margins, MetricInfo, fidelity, listed, matched_difference
from unlogit.analyses._paired import EQUIVALENCE, FAMILY, format_p, format_share, format_signed
from unlogit.drawing import Block, colour, sheet, style
from unlogit.outside import short_names
from unlogit.settings import Count
from unlogit.statistics import Difference, Estimate, correct_family, wilson

TITLE = "Mistakes"
QUESTION = "Are reconstructions of misclassified images less faithful?"


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Number of images shown, and margins."""

    shown: Count = 6
    """Number of misclassified images shown per classifier, each beside a correctly classified image of the same
    class."""
    margins: Margins = field(default_factory=Margins)
    """Equivalence margins: smaller differences count as none."""


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield images of both kinds and tests of the differences; nothing where labels are no classes of it."""
    wrong = {name: w for name in evidence.inverters if (w := _wrong(evidence, name)) is not None}
    matched = {name: w for name, w in wrong.items() if len(_pairs(evidence, w, 1, evidence.seed))}
    if not matched:
        return
    for first, sharing in evidence.classifiers().items():
        if first in matched:
            yield _figure(config, evidence, first, sharing, matched[first])
    values = {name: fidelity(evidence, name) for name in matched}
    tests = correct_family(
        {
            (name, m): matched_difference(values[name][m.name], w, evidence.labels, evidence.seed, config.margins.of(m))
            for name, w in matched.items()
            for m in SHORT
        }
    )
    rows: list[tuple[Cell, ...]] = []
    verdicts: list[tuple[Cell, ...]] = []
    for name, w in matched.items():
        differences = {m: tests[name, m] for m in SHORT}
        share = wilson(int(w.sum()), len(w))
        rows.append((name, share, *(d.estimate for d in differences.values())))
        verdicts.append((name, *(f"{d.verdict} (p {format_p(d.p)})" for d in differences.values())))
        yield Record("wrong", name, share, "share", None)
        for m, d in differences.items():
            yield Record(f"mistakes_{m.name}", name, d.estimate, m.unit, m.better)
        yield Finding(_described(name, share, differences))
    caption = (
        "Images that the inverter's own classifier misclassifies less correctly classified ones of the same true "
        "class, averaged over the former, with 95 % bootstrap CIs; classes without images of both kinds are left "
        "out. 'Same class' means the class that is predicted for the original, right or wrong."
    )
    columns = (Column("inverter"), Column("wrong", None, "share of images"), *(m.column for m in SHORT))
    yield Table("mistakes", "Wrong less right", caption, columns, tuple(rows))
    heads = (Column("inverter"), *(Column(m.title) for m in SHORT))
    yield Table("verdicts", "Which differences are significant", f"{FAMILY}{EQUIVALENCE}.", heads, tuple(verdicts))


def _wrong(evidence: Evidence, name: str) -> Tensor | None:
    """Return which images the classifier of inverter `name` misclassifies, bool; None if that is not known."""
    truth = evidence.truth(name)
    return None if truth is None else evidence.encoded(name).logits.argmax(1) != truth


def _pairs(evidence: Evidence, wrong: Tensor, count: int, seed: int) -> list[tuple[int, int]]:
    """Return random indices of misclassified images, each with a correct one of its class; none twice."""
    free: dict[int, list[int]] = {}
    order = evidence.sample(len(evidence), seed).tolist()
    for index in order:
        if not wrong[index]:
            free.setdefault(int(evidence.labels[index]), []).append(index)
    pairs: list[tuple[int, int]] = []
    for index in order:
        same = free.get(int(evidence.labels[index]), [])
        if wrong[index] and same and len(pairs) < count:
            pairs.append((index, same.pop(0)))
    return pairs


def _figure(config: Config, evidence: Evidence, first: str, sharing: list[str], wrong: Tensor) -> Figure:
    """Return the figure of both kinds for one classifier, one row per pair, with all of its inverters."""
    pairs = torch.tensor(_pairs(evidence, wrong, config.shown, evidence.seed))
    ink = colour(list(evidence.inverters).index(first))
    blocks = []
    for title, indices in (("misclassified", pairs[:, 0]), ("correct, of the same class", pairs[:, 1])):
        columns = {"original": evidence.originals.bytes[indices]}
        columns |= {name: evidence.reconstructed(name).images.bytes[indices] for name in sharing}
        blocks.append(Block(title, ink, tuple(columns), torch.stack(list(columns.values()), 1)))
    truth = evidence.truth(first)
    names = short_names(evidence.inverters[first].representation.classifier.class_names)
    assert truth is not None
    predicted = evidence.encoded(first).logits.argmax(1)
    mistaken = (f"{names[truth[index]]} for {names[predicted[index]]}" for index in pairs[:, 0].tolist())
    spec = evidence.inverters[first].representation.classifier.spec
    caption = (
        f"By {spec}; one row per class, drawn from the {int(wrong.sum())} that it gets wrong. From the top down "
        f"it takes {listed(list(mistaken))}."
    )
    with style():
        return Figure(f"images-{list(evidence.inverters).index(first)}", f"Mistakes: {first}", caption, sheet(blocks))


def _described(name: str, share: Estimate, differences: dict[MetricInfo, Difference]) -> str:
    sides: dict[str, list[str]] = {"more faithful in": [], "less faithful in": [], "equivalent in": []}
    sides["inconclusive in"] = []
    for m, d in differences.items():
        e, gain = d.estimate, m.gain(d)
        text = f"{m.title} {format_signed(e, more=f', within ±{d.margin:g}' if d.equivalent else '')}"
        if gain:
            sides["more faithful in" if gain > 0 else "less faithful in"].append(text)
        else:
            sides["equivalent in" if d.equivalent else "inconclusive in"].append(text)
    parts = [f"{side} {listed(titles)}" for side, titles in sides.items() if titles]
    return (
        f"{name}: its classifier gets {format_share(share)} of images wrong. Compared with right ones of the same "
        f"class, their reconstructions are {', '.join(parts)}."
    )
