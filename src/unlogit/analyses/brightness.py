"""The paper's supplement: a picture made brighter, richer in contrast or sharper, and what the logits answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as transforms

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Number, Result, Table
from unlogit.analyses._curves import draw_curves
from unlogit.analyses._evidence import Pictures
from unlogit.analyses._sheet import Block, sheet
from unlogit.analyses._style import INK, style
from unlogit.analyses._sweep import check_amounts
from unlogit.intervals import Estimate, bootstrap, paired_bootstrap
from unlogit.settings import Count, Several, Weight

TITLE = "Brightness, contrast, sharpness"
PLACE = 52
QUESTION = "When a picture is made brighter, richer in contrast or sharper, do its logits shift or scale as a whole?"

CHANGES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "brightness": transforms.adjust_brightness,
    "contrast": transforms.adjust_contrast,
    "sharpness": transforms.adjust_sharpness,
}
ANSWERS = {
    "shift": ("shift of the logits", "change of the mean over a picture's logits, in standard deviations of a logit"),
    "scale": ("scale of the logits", "their standard deviation about that mean, over the unchanged picture's"),
    "direction": (
        "direction of the logits",
        "cosine with the unchanged picture's, both less their mean: 1 for the same",
    ),
}

OWNER = "inverter's classifier"


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """By how much pictures are changed."""

    factors: tuple[Weight, ...] = (0.5, 0.7, 1.0, 1.4, 2.0)
    """In growing order; 1 leaves a picture as it is, 0 is black, grey or blurred."""
    pictures: Several = 256
    """Measured on so many."""
    shown: Count = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_amounts(self.factors, "brightness factors")


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yields the changed pictures, the curves of what the representation answers, and their ends' differences."""
    names = evidence.representations()
    if not names:
        return
    which = evidence.sample(config.pictures, evidence.seed)
    changed = {c: [_change(evidence, which, c, factor) for factor in config.factors] for c in CHANGES}
    heads = tuple(f"× {factor:g}" for factor in config.factors)
    blocks = [
        Block(c, INK, heads, torch.stack([images.bytes[: config.shown] for images in each], 1))
        for c, each in changed.items()
    ]
    with style():
        yield Figure("pictures", "The changed pictures", "What the classifiers are given.", sheet(blocks))
    values = {name: _answers(evidence, name, which, changed) for name in names}
    curves: dict[str, dict[str, list[Estimate]]] = {
        f"{ANSWERS[answer][0]}, by {c}": {
            name: [bootstrap(v, evidence.seed) for v in values[name][c, answer]] for name in names
        }
        for answer in ANSWERS
        for c in CHANGES
    }
    measured = f"Means over {len(which):,} pictures with 95 % bootstrap intervals, against the factor of the change."
    with style():
        drawn = draw_curves(
            curves, config.factors, "factor", list(evidence.inverters), log=config.factors[0] > 0, across=3
        )
    yield Figure("curves", "What the logits answer", measured, drawn)
    yield from _ends(evidence, values, heads)
    rows: list[tuple[Cell, ...]] = [
        (name, f"{c} {head}", *(curves[f"{ANSWERS[a][0]}, by {c}"][name][i] for a in ANSWERS))
        for name in names
        for c in CHANGES
        for i, head in enumerate(heads)
    ]
    told = (Column(title, None, explanation) for title, explanation in ANSWERS.values())
    yield Table("curves", "The curves' points", measured, (Column(OWNER), Column("change"), *told), tuple(rows))
    for name in names:
        for c, answer in values[name]:
            for factor, point in zip(config.factors, curves[f"{ANSWERS[answer][0]}, by {c}"][name], strict=True):
                yield Number(f"{answer}_by_{c}", name, point, "", None, at=factor)


def _ends(
    evidence: Evidence, values: dict[str, dict[tuple[str, str], list[Tensor]]], heads: tuple[str, ...]
) -> Iterator[Result]:
    """How shift and scale differ between the lowest and the highest factor, as a table, numbers and sentences."""
    keys = [(c, answer) for c in CHANGES for answer in ("shift", "scale")]
    ends = {
        name: {key: paired_bootstrap(each[key][-1], each[key][0], evidence.seed) for key in keys}
        for name, each in values.items()
    }
    caption = f"From {heads[0]} to {heads[-1]}, picture by picture, with 95 % bootstrap intervals."
    columns = (Column(OWNER), *(Column(f"{answer} by {c}") for c, answer in keys))
    rows: list[tuple[Cell, ...]] = [(name, *each.values()) for name, each in ends.items()]
    yield Table("changes", "What changes from end to end", caption, columns, tuple(rows))
    for name, each in ends.items():
        for (c, answer), estimate in each.items():
            yield Number(f"{answer}_by_{c}_change", name, estimate, "", None)
        told = "; ".join(
            f"{c}: " + ", ".join(f"{a} {_signed(each[c, a])}" for a in ("shift", "scale")) for c in CHANGES
        )
        yield Finding(f"{name}, from {heads[0]} to {heads[-1]}, what the logits answer to {told}.")


def _signed(change: Estimate) -> str:
    if change.low <= 0 <= change.high:
        return "not told apart from 0"
    return f"{change.value:+.3f}".replace("-", "−")


def _change(evidence: Evidence, which: Tensor, change: str, factor: float) -> Pictures:
    made = [CHANGES[change](chunk, factor) for chunk in Pictures(evidence.originals.bytes[which]).chunks()]
    return Pictures.of([(images * 255).round().clamp(0, 255).byte() for images in made])


def _answers(
    evidence: Evidence, name: str, which: Tensor, changed: dict[str, list[Pictures]]
) -> dict[tuple[str, str], list[Tensor]]:
    """By change and answer, one value a picture for each factor."""
    representation = evidence.inverters[name].representation
    before = evidence.raw(name)[which]
    unit = evidence.raw(name).std(0).mean()
    values: dict[tuple[str, str], list[Tensor]] = {(c, a): [] for c in CHANGES for a in ANSWERS}
    for c, each in changed.items():
        for images in each:
            after = torch.cat(
                [representation.raw(chunk.to(representation.shift.device)).cpu() for chunk in images.chunks()]
            )
            values[c, "shift"].append((after.mean(1) - before.mean(1)) / unit)
            values[c, "scale"].append(after.std(1) / before.std(1).clamp(min=1e-6))
            values[c, "direction"].append(F.cosine_similarity(_centred(after), _centred(before)))
    return values


def _centred(raw: Tensor) -> Tensor:
    return raw - raw.mean(1, keepdim=True)
