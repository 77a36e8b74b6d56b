"""Figure 6 of the paper: what is reconstructed of pictures that the classifier takes for something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Number, Result, Table
from unlogit.analyses._fidelity import SHORT, Merit, fidelity, listed, matched_difference
from unlogit.analyses._sheet import Block, sheet
from unlogit.analyses._style import colour, style
from unlogit.intervals import Estimate, wilson
from unlogit.outside import short_names
from unlogit.settings import Count

TITLE = "Mistakes"
PLACE = 50
QUESTION = "Does less survive of pictures that the classifier gets wrong?"


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """How much is shown."""

    shown: Count = 6
    """Wrongly classified pictures a classifier, each beside a right one of the same class."""


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yields pictures of both kinds, and the differences; nothing where labels are not the classifier's classes."""
    wrong = {name: w for name in evidence.inverters if (w := _wrong(evidence, name)) is not None}
    told = {name: w for name, w in wrong.items() if len(_pairs(evidence, w, 1, evidence.seed))}
    if not told:
        return
    for first, sharing in evidence.classifiers().items():
        if first in told:
            yield _figure(config, evidence, first, sharing, told[first])
    rows: list[tuple[Cell, ...]] = []
    for name, w in told.items():
        values = fidelity(evidence, name)
        differences = {m: matched_difference(values[m.name], w, evidence.labels, evidence.seed) for m in SHORT}
        share = wilson(int(w.sum()), len(w))
        rows.append((name, share, *differences.values()))
        yield Number("wrong", name, share, "share", None)
        for m, difference in differences.items():
            yield Number(f"mistakes_{m.name}", name, difference, m.unit, m.better)
        yield Finding(_told(name, share, differences))
    caption = (
        "Pictures that the inverter's own classifier gets wrong less those of the same true class that it gets right, "
        "averaged over the wrong ones, with 95 % bootstrap intervals; classes without pictures of both kinds are left "
        "out. The same class means the class that is predicted for the original, be that right or wrong."
    )
    columns = (Column("inverter"), Column("wrong", None, "share of pictures"), *(m.column for m in SHORT))
    yield Table("mistakes", "Wrong less right", caption, columns, tuple(rows))


def _wrong(evidence: Evidence, name: str) -> Tensor | None:
    """Which pictures the classifier of inverter `name` gets wrong, bool; None where that cannot be said."""
    truth = evidence.truth(name)
    return None if truth is None else evidence.encoded(name).logits.argmax(1) != truth


def _pairs(evidence: Evidence, wrong: Tensor, count: int, seed: int) -> list[tuple[int, int]]:
    """Places of wrongly classified pictures, drawn at random, each with a right one of its class; none twice."""
    free: dict[int, list[int]] = {}
    order = evidence.sample(len(evidence), seed).tolist()
    for place in order:
        if not wrong[place]:
            free.setdefault(int(evidence.labels[place]), []).append(place)
    pairs: list[tuple[int, int]] = []
    for place in order:
        same = free.get(int(evidence.labels[place]), [])
        if wrong[place] and same and len(pairs) < count:
            pairs.append((place, same.pop(0)))
    return pairs


def _figure(config: Config, evidence: Evidence, first: str, sharing: list[str], wrong: Tensor) -> Figure:
    """Both kinds for one classifier, a row a pair, as all of its inverters see them."""
    pairs = torch.tensor(_pairs(evidence, wrong, config.shown, evidence.seed))
    ink = colour(list(evidence.inverters).index(first))
    blocks = []
    for title, places in (("taken for something else", pairs[:, 0]), ("right, of the same class", pairs[:, 1])):
        columns = {"original": evidence.originals.bytes[places]}
        columns |= {name: evidence.reconstructed(name).pictures.bytes[places] for name in sharing}
        blocks.append(Block(title, ink, tuple(columns), torch.stack(list(columns.values()), 1)))
    truth = evidence.truth(first)
    names = short_names(evidence.inverters[first].representation.classifier.class_names)
    assert truth is not None
    asked = evidence.encoded(first).logits.argmax(1)
    mistaken = (f"{names[truth[place]]} for {names[asked[place]]}" for place in pairs[:, 0].tolist())
    spec = evidence.inverters[first].representation.classifier.spec
    caption = (
        f"By {spec}; a row a class, drawn at random among the {int(wrong.sum())} that it gets wrong. From the top down "
        f"it takes {listed(list(mistaken))}."
    )
    with style():
        return Figure(f"pictures-{list(evidence.inverters).index(first)}", f"Mistakes: {first}", caption, sheet(blocks))


def _told(name: str, share: Estimate, differences: dict[Merit, Estimate]) -> str:
    sides: dict[int, list[str]] = {-1: [], 0: [], 1: []}
    for m, d in differences.items():
        sides[m.gain(d)].append(f"{m.title} ({d.value:+.3f}, {d.low:+.3f} to {d.high:+.3f})")
    words = {-1: "less true in", 1: "truer in", 0: "not told apart in"}
    parts = [f"{words[side]} {listed(titles)}" for side, titles in sides.items() if titles]
    return (
        f"{name}: of the {share.value:.1%} that its classifier gets wrong, reconstructions are {', '.join(parts)}, "
        "compared with right ones of the same class."
    )
