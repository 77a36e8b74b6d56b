"""Figure 9 of the paper: from one image's logits to another's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._curves import draw_curves
from unlogit.analyses._evidence import Images
from unlogit.analyses._fidelity import MetricInfo
from unlogit.analyses._paired import format_share, pair_tests, report_pairs
from unlogit.analyses._paths import report_paths
from unlogit.drawing import inverter_blocks, sheet, style
from unlogit.manipulate import interpolate
from unlogit.settings import Count, Several
from unlogit.statistics import Estimate, bootstrap

TITLE = "A path through the logits"
QUESTION = "Are there images between two images: what is seen on the straight line between their logits?"

CLASSES = ("first image's class", "second image's class", "any other class")


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Number of pairs and of steps."""

    steps: Several = 8
    """Number of steps along a line."""
    pairs: Several = 64
    """Number of pairs measured. No image is in two pairs."""
    shown: Count = 4
    """Number of pairs shown."""


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield images along the lines, their class probabilities, and the lines' length and evenness."""
    names = evidence.measured()
    pairs = _pairs(config, evidence, names)
    if not names or len(pairs) < 2:
        return
    amounts = [step / config.steps for step in range(config.steps + 1)]
    points = {name: _walk(evidence, name, pairs, amounts) for name in names}
    first, second = (evidence.originals.bytes[pairs[: config.shown, end]] for end in (0, 1))
    blocks = inverter_blocks(
        evidence.inverters,
        {"first": first},
        {
            name: {f"{a:.0%}": p.bytes[: config.shown] for a, p in zip(amounts, points[name], strict=True)}
            for name in names
        },
        {"second": second},
    )
    caption = (
        "One row per pair of images of which every classifier predicts different classes; between the "
        "two, reconstructions of the line from the logits of the first to those of the second, the noise the same."
    )
    with style():
        yield Figure("images", "From image to image", caption, sheet(blocks))
    yield from _classes(evidence, points, pairs, amounts)
    yield from report_paths(evidence, points, amounts, "interpolation", "way from logits to logits")


def _pairs(config: Config, evidence: Evidence, names: list[str]) -> Tensor:
    """Return indices of images, pairs x 2, of which every classifier predicts different classes."""
    order = evidence.sample(len(evidence), evidence.seed)
    pairs = order[: len(order) // 2 * 2].view(-1, 2)
    for name in names:
        predicted = evidence.encoded(name).logits.argmax(1)
        pairs = pairs[predicted[pairs[:, 0]] != predicted[pairs[:, 1]]]
    return pairs[: config.pairs]


def _walk(evidence: Evidence, name: str, pairs: Tensor, amounts: list[float]) -> list[Images]:
    raw = evidence.raw(name)
    first, second = raw[pairs[:, 0]], raw[pairs[:, 1]]
    noise = evidence.noise(evidence.inverters[name], len(pairs), 0)
    return [evidence.invert(name, interpolate(first, amount, second), noise) for amount in amounts]


def _classes(
    evidence: Evidence, points: dict[str, list[Images]], pairs: Tensor, amounts: list[float]
) -> Iterator[Result]:
    """Yield the probabilities of both ends' classes and of all others along the path."""
    curves: dict[str, dict[str, list[Estimate]]] = {title: {} for title in CLASSES}
    others: dict[str, dict[str, Tensor]] = {}
    middle = len(amounts) // 2
    midway = "interpolation_other_class_midway"
    for name, images in points.items():
        ends = evidence.encoded(name).logits.argmax(1)[pairs]
        seen = torch.stack([evidence.reencode(name, p).softmax(1) for p in images])
        first, second = (seen.gather(2, ends[:, end].view(1, -1, 1).expand(len(seen), -1, 1))[..., 0] for end in (0, 1))
        for title, shares in zip(CLASSES, (first, second, 1 - first - second), strict=True):
            curves[title][name] = [bootstrap(share, evidence.seed) for share in shares]
        others[name] = {midway: (1 - first - second)[middle]}
    measured = f"Mean probability over {len(pairs):,} pairs with 95 % bootstrap CIs, by each inverter's classifier."
    with style():
        drawn = draw_curves(curves, amounts, "way from logits to logits", list(evidence.inverters), across=3)
    yield Figure("classes", "What the classifier sees on the way", measured, drawn)
    position = f"at {amounts[middle]:.0%} of the way"
    rows: list[tuple[Cell, ...]] = [(name, *(curves[title][name][middle] for title in CLASSES)) for name in points]
    columns = (Column("inverter"), *(Column(title) for title in CLASSES))
    yield Table("classes", f"Class probabilities {position}", measured, columns, tuple(rows))
    other = curves[CLASSES[2]]
    for name in points:
        for key, title in zip(("first", "second", "other"), CLASSES, strict=True):
            for amount, estimate in zip(amounts, curves[title][name], strict=True):
                yield Record(f"interpolation_{key}_class", name, estimate, "probability", None, at=amount)
        yield Record(midway, name, other[name][middle], "probability", None)
    parts = ", ".join(
        f"{format_share(e)} for {name}" for name, e in ((name, each[middle]) for name, each in other.items())
    )
    yield Finding(
        f"{position[0].upper()}{position[1:]} the mean probability of any other class than the two is {parts}."
    )
    metric = MetricInfo(
        midway, f"any other class {position}", None, "probability by the inverter's own classifier", unit="probability"
    )
    yield from report_pairs(
        [metric],
        pair_tests([metric], others, evidence.seed),
        f"The first inverter less the second, on the same {len(pairs):,} pairs, each by its own classifier.",
        "class-pairs",
    )
