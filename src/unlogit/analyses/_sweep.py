"""Representations moved by growing amounts: the pictures, and how their looks and their content answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.analyses._base import Cell, Column, Figure, Finding, Number, Result, Table
from unlogit.analyses._curves import draw_curves
from unlogit.analyses._evidence import Evidence, Pictures
from unlogit.analyses._sheet import inverter_blocks, sheet
from unlogit.analyses._style import style
from unlogit.errors import UnlogitError
from unlogit.intervals import Estimate, bootstrap, paired_bootstrap
from unlogit.metrics.appearance import brightness, colourfulness, contrast, sharpness

Units = Literal["sd", "raw"]

LOOKS: dict[str, tuple[str, Callable[[Tensor], Tensor], str]] = {
    "brightness": ("brightness", brightness, "mean luma, from 0 to 1"),
    "contrast": ("contrast", contrast, "standard deviation of luma over pixels"),
    "sharpness": ("sharpness", sharpness, "difference of neighbouring pixels over contrast: 1.4 for white noise"),
    "colourfulness": ("colourfulness", colourfulness, "after Hasler and Süsstrunk 2003, on pixels from 0 to 1"),
}
CONTENT = {
    "content": ("content", "cosine of the logits of reconstruction and original, both less the originals' mean"),
    "same_class": ("same class", "how often the reconstruction has the original's predicted class"),
    "moved": ("moved", "distance to the reconstruction of the representation as it is"),
}
TITLES = {name: title for name, (title, *_) in (LOOKS | CONTENT).items()}
EXPLAINED = {name: words[-1] for name, words in (LOOKS | CONTENT).items()}


@dataclass(frozen=True)
class Sweep:
    """One manipulation.

    Attributes:
        amounts: in growing order.
        neutral: the amount that changes nothing.
        axis: what an amount is, with its unit.
        words: an amount as a column's heading.
        apply: the manipulated representations of an inverter: its name, them as they are, N x K, and the amount.
    """

    amounts: tuple[float, ...]
    neutral: float
    axis: str
    words: Callable[[float], str]
    apply: Callable[[str, Tensor, float], Tensor]


def unit(evidence: Evidence, name: str, units: Units) -> float:
    """What an amount is counted in: the dimensions' standard deviation over the originals, their mean; or 1."""
    return 1.0 if units == "raw" else float(evidence.raw(name).std(0).mean())


def check_amounts(amounts: Sequence[float], what: str) -> None:
    """Raise `UnlogitError` unless they grow and are at least two."""
    if len(amounts) < 2 or any(b <= a for a, b in pairwise(amounts)):
        raise UnlogitError(f"{what} {' '.join(f'{a:g}' for a in amounts)}: must be two or more in growing order")


def run_sweep(sweep: Sweep, evidence: Evidence, pictures: int, shown: int, note: str) -> Iterator[Result]:
    """Yields the sheet, curves, their table, every number, and what changes from the first amount to the last.

    Args:
        sweep: the manipulation and its amounts.
        evidence: whose inverters draw, where they read more than a class.
        pictures: measured on so many.
        shown: so many of them are drawn.
        note: said of the amounts in the captions.
    """
    names = evidence.measured()
    if not names:
        return
    which = evidence.sample(pictures, evidence.seed)
    made = {name: _made(sweep, evidence, name, which) for name in names}
    values = {name: _measure(sweep, evidence, name, which, made[name]) for name in names}
    found = {
        name: {m: [bootstrap(v, evidence.seed) for v in each] for m, each in values[name].items()} for name in names
    }
    heads = tuple(sweep.words(a) for a in sweep.amounts)
    originals = evidence.originals.bytes[which[:shown]]
    blocks = inverter_blocks(
        evidence,
        {"original": originals},
        {n: {head: images.bytes[:shown] for head, images in zip(heads, made[n], strict=False)} for n in names},
    )
    with style():
        yield Figure(
            "pictures",
            "What becomes of the pictures",
            f"A row a picture, its noise the same in all. {note}",
            sheet(blocks),
        )
        curves = {TITLES[m]: {name: found[name][m] for name in names} for m in TITLES}
        drawn = draw_curves(curves, sweep.amounts, sweep.axis, list(evidence.inverters), log=sweep.neutral == 1)
    measured = (
        f"Means over {len(which):,} pictures with 95 % bootstrap intervals; 'moved' is a distance in "
        f"{evidence.embedding.name}."
    )
    yield Figure("curves", "How looks and content answer", f"{measured} {note}", drawn)
    yield from _told(evidence, values, heads)
    rows: list[tuple[Cell, ...]] = [
        (name, head, *(found[name][m][i] for m in TITLES)) for name in names for i, head in enumerate(heads)
    ]
    columns = (Column("inverter"), Column(sweep.axis), *(Column(TITLES[m], None, EXPLAINED[m]) for m in TITLES))
    yield Table("curves", "The curves' points", measured, columns, tuple(rows))
    for name in names:
        for m, estimates in found[name].items():
            for amount, estimate in zip(sweep.amounts, estimates, strict=True):
                yield Number(m, name, estimate, "", None, at=amount)


def _told(evidence: Evidence, values: dict[str, dict[str, list[Tensor]]], heads: tuple[str, ...]) -> Iterator[Result]:
    """The changes from the first amount to the last as a table, numbers and sentences."""
    moved = {name: bootstrap(torch.maximum(v["moved"][0], v["moved"][-1]), evidence.seed) for name, v in values.items()}
    changes = {name: _changes(evidence, each) for name, each in values.items()}
    rows: list[tuple[Cell, ...]] = [(name, *changes[name].values(), moved[name]) for name in values]
    columns = (
        Column("inverter"),
        *(Column(f"{TITLES[m]}, {'sd' if m in LOOKS else 'change'}") for m in next(iter(changes.values()))),
        Column("moved at most", None, "distance to the unmoved reconstruction at the end where it is larger"),
    )
    caption = (
        f"From {heads[0]} to {heads[-1]}, picture by picture, with 95 % bootstrap intervals; looks in standard "
        "deviations (sd) over the originals, so that they can be compared."
    )
    yield Table("changes", "What changes from end to end", caption, columns, tuple(rows))
    for name in values:
        for m, estimate in changes[name].items():
            yield Number(f"{m}_change", name, estimate, "sd of the originals" if m in LOOKS else "", None)
        yield Number("moved_most", name, moved[name], "", None)
        yield Finding(f"{name}, from {heads[0]} to {heads[-1]}: {told_changes(changes[name])}.")
    told = ", ".join(f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f}) for {name}" for name, e in moved.items())
    yield Finding(f"At the end that moves it more, a picture lies from its unmoved reconstruction: {told}.")


def _changes(evidence: Evidence, values: dict[str, list[Tensor]]) -> dict[str, Estimate]:
    """From the first amount to the last; looks in standard deviations over the originals."""
    changes = {}
    for m in (*LOOKS, "content", "same_class"):
        first, last = values[m][0], values[m][-1]
        if m in LOOKS:
            spread = torch.cat([LOOKS[m][1](chunk) for chunk in evidence.originals.chunks()]).std().clamp(min=1e-6)
            first, last = first / spread, last / spread
        changes[m] = paired_bootstrap(last, first, evidence.seed)
    return changes


def told_changes(changes: dict[str, Estimate]) -> str:
    """What rises, falls, and does neither by an interval that excludes 0."""
    told, still = [], []
    for m, change in changes.items():
        if change.low <= 0 <= change.high:
            still.append(TITLES[m])
        elif m in LOOKS:
            told.append(f"{TITLES[m]} {change.value:+.2f} sd")
        else:
            told.append(f"{TITLES[m]} {change.value:+.3f}")
    quiet = f"no change told apart from none in {', '.join(still)}" if still else ""
    return "; ".join(filter(None, [", ".join(told), quiet])).replace("-", "−")


def _made(sweep: Sweep, evidence: Evidence, name: str, which: Tensor) -> list[Pictures]:
    """Reconstructions by amount, and last those of the representation as it is."""
    raw = evidence.raw(name)[which]
    noise = evidence.noise(evidence.inverters[name], len(raw), 0)
    moved = [sweep.apply(name, raw, amount) for amount in sweep.amounts]
    return [evidence.invert(name, r, noise) for r in (*moved, raw)]


def _measure(
    sweep: Sweep, evidence: Evidence, name: str, which: Tensor, made: list[Pictures]
) -> dict[str, list[Tensor]]:
    """By measure and amount one value a picture."""
    logits = evidence.encoded(name).logits
    mean, asked = logits.mean(0), logits[which]
    still = evidence.embed(made[-1])
    values: dict[str, list[Tensor]] = {m: [] for m in TITLES}
    for images in made[:-1]:
        for m, (_, look, _) in LOOKS.items():
            values[m].append(torch.cat([look(chunk) for chunk in images.chunks()]))
        answered = evidence.reencode(name, images)
        values["content"].append(F.cosine_similarity(asked - mean, answered - mean))
        values["same_class"].append((asked.argmax(1) == answered.argmax(1)).float())
        values["moved"].append((evidence.embed(images) - still).norm(dim=1))
    return values
