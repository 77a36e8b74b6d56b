"""Manipulation of representations by increasing amounts: the images, and the changes of their looks and content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.analyses._base import AnalysisConfig, Cell, Column, Figure, Finding, Record, Result, Table
from unlogit.analyses._curves import draw_curves
from unlogit.analyses._evidence import Evidence, Images
from unlogit.analyses._fidelity import Margins, MetricInfo, listed
from unlogit.analyses._paired import EQUIVALENCE, FAMILY, format_p, format_signed, pair_tests, report_pairs
from unlogit.drawing import inverter_blocks, sheet, style
from unlogit.errors import UnlogitError
from unlogit.metrics.appearance import brightness, colourfulness, contrast, sharpness
from unlogit.settings import Count, Several
from unlogit.statistics import Difference, bootstrap, correct_family, paired_tests

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
    # Beside content, which is measured from a centre that does not move with the manipulation.
    "distance": ("distance to original", "in the embedding that the caption names"),
    "moved": ("moved", "distance to the reconstruction of the unchanged representation"),
}
CHANGES = (*LOOKS, "content", "same_class", "distance")
"""Measures that are compared with the neutral amount, where `moved` is 0."""
COMPARED = ("content", "same_class", "distance", "moved")
"""Measures by which inverters are compared."""
TITLES = {name: title for name, (title, *_) in (LOOKS | CONTENT).items()}
EXPLAINED = {name: words[-1] for name, words in (LOOKS | CONTENT).items()}


@dataclass(frozen=True)
class SweepConfig(AnalysisConfig):
    """Options that all sweeps share, beside their amounts."""

    num_images: Several = 256
    """Number of images measured."""
    shown: Count = 4
    """Number of images shown."""
    margins: Margins = field(default_factory=Margins)
    """Equivalence margins: smaller changes count as none."""


@dataclass(frozen=True)
class UnitSweepConfig(SweepConfig):
    """Options of sweeps whose amounts are in units of the logits."""

    units: Units = "sd"
    """Unit of the change: "sd" is the standard deviation of a logit over images, which makes classifiers comparable;
    "raw" is the logit's own."""


@dataclass(frozen=True)
class Sweep:
    """One manipulation.

    Attributes:
        amounts: amounts in increasing order.
        neutral: amount that changes nothing.
        axis: label of the amounts, with their unit.
        words: function that formats an amount as a column's heading.
        apply: function that manipulates representations, of an inverter's name, the representations, N x K, and the
            amount.
        margins: changes that count as none.
    """

    amounts: tuple[float, ...]
    neutral: float
    axis: str
    words: Callable[[float], str]
    apply: Callable[[str, Tensor, float], Tensor]
    margins: Margins

    def margin(self, measure: str) -> float:
        """Return the change of a measure of `CHANGES` that counts as none."""
        named = {"content": self.margins.cosine, "same_class": self.margins.share, "distance": self.margins.perceptual}
        return named.get(measure, self.margins.looks)


def unit(evidence: Evidence, name: str, units: Units) -> float:
    """Return the unit of an amount: the mean over dimensions of the standard deviation over originals, or 1."""
    return 1.0 if units == "raw" else float(evidence.raw(name).std(0).mean())


def check_amounts(amounts: Sequence[float], what: str) -> None:
    """Raise `UnlogitError` unless there are at least two amounts, in increasing order."""
    if len(amounts) < 2 or any(b <= a for a, b in pairwise(amounts)):
        raise UnlogitError(f"{what} {' '.join(f'{a:g}' for a in amounts)}: must be two or more in increasing order")


def run_sweep(sweep: Sweep, evidence: Evidence, num_images: int, shown: int, note: str) -> Iterator[Result]:
    """Yield the sheet, curves, their table, every record, and the changes from the neutral amount to each other one.

    Args:
        sweep: the manipulation and its amounts.
        evidence: images and inverters; those of the predicted class alone are left out.
        num_images: number of images measured.
        shown: number of images shown.
        note: sentence on the amounts for the captions.
    """
    names = evidence.measured()
    if not names:
        return
    which = evidence.sample(num_images, evidence.seed)
    reconstructions = {name: _reconstruct(sweep, evidence, name, which) for name in names}
    values = {name: _measure(sweep, evidence, name, which, reconstructions[name]) for name in names}
    # The last values are those of the unchanged representation.
    estimates_of = {
        name: {m: [bootstrap(v, evidence.seed) for v in each[:-1]] for m, each in values[name].items()}
        for name in names
    }
    heads = tuple(sweep.words(a) for a in sweep.amounts)
    originals = evidence.originals.bytes[which[:shown]]
    blocks = inverter_blocks(
        evidence.inverters,
        {"original": originals},
        {
            n: {head: images.bytes[:shown] for head, images in zip(heads, reconstructions[n], strict=False)}
            for n in names
        },
    )
    with style():
        yield Figure(
            "images",
            "The manipulated reconstructions",
            f"One row per image, with the same noise in all columns. {note}",
            sheet(blocks),
        )
        curves = {TITLES[m]: {name: estimates_of[name][m] for name in names} for m in TITLES}
        drawn = draw_curves(curves, sweep.amounts, sweep.axis, list(evidence.inverters), log=sweep.neutral == 1)
    measured = (
        f"Means over {len(which):,} images with 95 % bootstrap CIs; 'distance to original' and 'moved' are distances "
        f"in {evidence.embedding.name}."
    )
    yield Figure("curves", "How looks and content change", f"{measured} {note}", drawn)
    yield from _changes(sweep, evidence, values, len(which))
    rows: list[tuple[Cell, ...]] = [
        (name, head, *(estimates_of[name][m][i] for m in TITLES)) for name in names for i, head in enumerate(heads)
    ]
    columns = (Column("inverter"), Column(sweep.axis), *(Column(TITLES[m], None, EXPLAINED[m]) for m in TITLES))
    yield Table("curves", "The curves' points", measured, columns, tuple(rows))
    for name in names:
        for m, estimates in estimates_of[name].items():
            for amount, estimate in zip(sweep.amounts, estimates, strict=True):
                yield Record(m, name, estimate, "", None, at=amount)


def _changes(sweep: Sweep, evidence: Evidence, values: dict[str, dict[str, list[Tensor]]], n: int) -> Iterator[Result]:
    """Test every amount against the neutral one, and inverters against each other, as tables, numbers and sentences."""
    indices = {amount: i for i, amount in enumerate(sweep.amounts) if amount != sweep.neutral}
    spread = {m: torch.cat([look(x) for x in evidence.originals.chunks()]).std() for m, (_, look, _) in LOOKS.items()}
    changes = {
        name: {
            (m, amount): (each[m][i] - each[m][-1]) / spread.get(m, torch.ones(())).clamp(min=1e-6)
            for amount, i in indices.items()
            for m in (*CHANGES, "moved")
        }
        for name, each in values.items()
    }
    tested = {
        (name, m, amount): each[m, amount] for name, each in changes.items() for amount in indices for m in CHANGES
    }
    margins = {(name, m, amount): sweep.margin(m) for name, m, amount in tested}
    tests = correct_family(paired_tests(tested, evidence.seed, margins))
    heads = [Column("inverter"), Column(sweep.axis)]
    heads += [Column(f"{TITLES[m]}, {'sd' if m in LOOKS else 'change'}") for m in CHANGES]
    rows: list[tuple[Cell, ...]] = []
    verdicts: list[tuple[Cell, ...]] = []
    for name in values:
        for amount in indices:
            row = [tests[name, m, amount] for m in CHANGES]
            rows.append((name, sweep.words(amount), *(d.estimate for d in row)))
            verdicts.append((name, sweep.words(amount), *(f"{d.verdict} (p {format_p(d.p)})" for d in row)))
    neutral = sweep.words(sweep.neutral)
    caption = (
        f"Each amount less {neutral}, the reconstruction of the unchanged representation, on the same {n:,} images, "
        "with 95 % bootstrap CIs; looks in standard deviations (sd) over the originals."
    )
    yield Table("changes", f"Change against {neutral}", caption, tuple(heads), tuple(rows))
    yield Table("verdicts", "Which changes are significant", f"{FAMILY}{EQUIVALENCE}.", tuple(heads), tuple(verdicts))
    for (name, m, amount), d in tests.items():
        yield Record(f"{m}_change", name, d.estimate, "sd of the originals" if m in LOOKS else "", None, at=amount)
    for name in values:
        for amount in dict.fromkeys((min(indices), max(indices))):
            described = describe_changes({m: tests[name, m, amount] for m in CHANGES})
            yield Finding(f"{name}, {sweep.words(amount)} against {neutral}: {described}.")
    metrics = {
        (m, amount): MetricInfo(
            f"{m}_change_at_{amount:.3g}", f"{TITLES[m]} at {sweep.words(amount)}", None, EXPLAINED[m]
        )
        for amount in indices
        for m in COMPARED
    }
    paired = {name: {metric.name: each[key] for key, metric in metrics.items()} for name, each in changes.items()}
    yield from report_pairs(
        list(metrics.values()),
        pair_tests(list(metrics.values()), paired, evidence.seed),
        f"The change against {neutral} of the first inverter less that of the second, on the same {n:,} images.",
    )


def describe_changes(changes: dict[str, Difference]) -> str:
    """Return which measures change significantly and by how much, which do not, and which are undecided."""
    changed, same, undecided = [], [], []
    for m, d in changes.items():
        e, sd = d.estimate, " sd" if m in LOOKS else ""
        if d.significant:
            within = f", within ±{d.margin:g}" if d.equivalent else ""
            changed.append(f"{TITLES[m]} {format_signed(e, more=within, unit=sd)}")
        elif d.equivalent:
            same.append(f"{TITLES[m]} (±{d.margin:g}{sd})")
        else:
            undecided.append(TITLES[m])
    parts = [
        f"significant change in {listed(changed)}" if changed else "no significant change",
        f"equivalent to no change in {listed(same)}" if same else "",
        f"inconclusive in {listed(undecided)}" if undecided else "",
    ]
    return "; ".join(filter(None, parts))


def _reconstruct(sweep: Sweep, evidence: Evidence, name: str, which: Tensor) -> list[Images]:
    """Return reconstructions by amount, and last those of the unchanged representation."""
    raw = evidence.raw(name)[which]
    noise = evidence.noise(evidence.inverters[name], len(raw), 0)
    moved = [sweep.apply(name, raw, amount) for amount in sweep.amounts]
    return [evidence.invert(name, r, noise) for r in (*moved, raw)]


def _measure(
    sweep: Sweep, evidence: Evidence, name: str, which: Tensor, reconstructions: list[Images]
) -> dict[str, list[Tensor]]:
    """Return by measure one value per image, for each amount and last for the unchanged representation."""
    logits = evidence.encoded(name).logits
    mean, target = logits.mean(0), logits[which]
    unmoved = evidence.embed(reconstructions[-1])
    originals = evidence.embed(Images(evidence.originals.bytes[which]))
    values: dict[str, list[Tensor]] = {m: [] for m in TITLES}
    for images in reconstructions:
        for m, (_, look, _) in LOOKS.items():
            values[m].append(torch.cat([look(chunk) for chunk in images.chunks()]))
        reencoded = evidence.reencode(name, images)
        embedded = evidence.embed(images)
        values["content"].append(F.cosine_similarity(target - mean, reencoded - mean))
        values["same_class"].append((target.argmax(1) == reencoded.argmax(1)).float())
        values["distance"].append((embedded - originals).norm(dim=1))
        values["moved"].append((embedded - unmoved).norm(dim=1))
    return values
