"""The paper's supplement: changes of the logits with an image's brightness, contrast and sharpness."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as transforms

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._curves import draw_curves
from unlogit.analyses._evidence import Images
from unlogit.analyses._fidelity import MetricInfo
from unlogit.analyses._paired import FAMILY, format_p, format_signed, pair_tests, report_pairs
from unlogit.analyses._sweep import check_amounts
from unlogit.drawing import INK, Block, sheet, style
from unlogit.images import to_bytes
from unlogit.settings import Count, Several, Weight
from unlogit.statistics import Difference, Estimate, bootstrap, correct_family, paired_tests

TITLE = "Brightness, contrast, sharpness"
QUESTION = "Do logits shift or scale as a whole when an image's brightness, contrast or sharpness changes?"

CHANGES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "brightness": transforms.adjust_brightness,
    "contrast": transforms.adjust_contrast,
    "sharpness": transforms.adjust_sharpness,
}
ANSWERS = {
    "shift": ("shift of the logits", "change of the mean over an image's logits, in standard deviations of a logit"),
    "scale": ("scale of the logits", "their standard deviation about that mean, over the unchanged image's"),
    "direction": (
        "direction of the logits",
        "cosine with the unchanged image's, both less their mean: 1 for the same",
    ),
}

UNCHANGED = {"shift": 0.0, "scale": 1.0}
"""Values of the unchanged image."""
OWNER = "inverter's classifier"


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Factors by which images are changed."""

    factors: tuple[Weight, ...] = (0.5, 0.7, 1.0, 1.4, 2.0)
    """Factors in increasing order. 1 leaves an image unchanged; 0 makes it black (brightness), grey (contrast) or
    blurred (sharpness)."""
    num_images: Several = 256
    """Number of images measured."""
    shown: Count = 2
    """Number of images shown."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_amounts(self.factors, "brightness factors")


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield the changed images, curves of the representation, and tests against the unchanged images."""
    names = evidence.representations()
    if not names:
        return
    which = evidence.sample(config.num_images, evidence.seed)
    changed = {c: [_change(evidence, which, c, factor) for factor in config.factors] for c in CHANGES}
    heads = tuple(f"× {factor:g}" for factor in config.factors)
    blocks = [
        Block(c, INK, heads, torch.stack([images.bytes[: config.shown] for images in each], 1))
        for c, each in changed.items()
    ]
    with style():
        yield Figure("images", "The changed images", "Inputs of the classifiers.", sheet(blocks))
    values = {name: _answers(evidence, name, which, changed) for name in names}
    curves: dict[str, dict[str, list[Estimate]]] = {
        f"{ANSWERS[answer][0]}, by {c}": {
            name: [bootstrap(v, evidence.seed) for v in values[name][c, answer]] for name in names
        }
        for answer in ANSWERS
        for c in CHANGES
    }
    measured = f"Means over {len(which):,} images with 95 % bootstrap CIs, against the factor of the change."
    with style():
        drawn = draw_curves(
            curves, config.factors, "factor", list(evidence.inverters), log=config.factors[0] > 0, across=3
        )
    yield Figure("curves", "Change of the logits", measured, drawn)
    yield from _changes(config, evidence, values, len(which))
    rows: list[tuple[Cell, ...]] = [
        (name, f"{c} {head}", *(curves[f"{ANSWERS[a][0]}, by {c}"][name][i] for a in ANSWERS))
        for name in names
        for c in CHANGES
        for i, head in enumerate(heads)
    ]
    columns_ = (Column(title, None, explanation) for title, explanation in ANSWERS.values())
    yield Table("curves", "The curves' points", measured, (Column(OWNER), Column("change"), *columns_), tuple(rows))
    for name in names:
        for c, answer in values[name]:
            for factor, point in zip(config.factors, curves[f"{ANSWERS[answer][0]}, by {c}"][name], strict=True):
                yield Record(f"{answer}_by_{c}", name, point, "", None, at=factor)


def _changes(
    config: Config, evidence: Evidence, values: dict[str, dict[tuple[str, str], list[Tensor]]], n: int
) -> Iterator[Result]:
    """Yield how shift and scale differ from those of the unchanged image: a table, numbers, sentences, comparisons."""
    factors = [(i, factor) for i, factor in enumerate(config.factors) if factor != 1]
    differences = {
        name: {
            (c, answer, factor): each[c, answer][i] - UNCHANGED[answer]
            for c in CHANGES
            for answer in UNCHANGED
            for i, factor in factors
        }
        for name, each in values.items()
    }
    tested = {(name, *key): change for name, each in differences.items() for key, change in each.items()}
    tests = correct_family(paired_tests(tested, evidence.seed))
    columns = (Column(OWNER), Column("change"), *(Column(ANSWERS[a][0]) for a in UNCHANGED for _ in range(2)))
    rows: list[tuple[Cell, ...]] = []
    for name in values:
        for c in CHANGES:
            for _, factor in factors:
                row = [tests[name, c, a, factor] for a in UNCHANGED]
                cells = [cell for d in row for cell in (d.estimate, f"{d.verdict} (p {format_p(d.p)})")]
                rows.append((name, f"{c} × {factor:g}", *cells))
    caption = f"Changed less unchanged on the same {n:,} images, with 95 % bootstrap CIs. {FAMILY}."
    yield Table("changes", "Change against the unchanged image", caption, columns, tuple(rows))
    for (name, c, answer, factor), d in tests.items():
        yield Record(f"{answer}_by_{c}_change", name, d.estimate, "", None, at=factor)
    for name in values:
        for _, factor in dict.fromkeys((factors[0], factors[-1])):
            parts = [
                f"{c}: {', '.join(f'{a} {_described(tests[name, c, a, factor])}' for a in UNCHANGED)}" for c in CHANGES
            ]
            yield Finding(f"{name}, logits of the image changed by × {factor:g}: {'; '.join(parts)}.")
    metrics = {
        (c, a, factor): MetricInfo(f"{a}_by_{c}_at_{factor:g}", f"{a} by {c} × {factor:g}", None, "")
        for c in CHANGES
        for a in UNCHANGED
        for _, factor in factors
    }
    paired = {name: {m.name: each[key] for key, m in metrics.items()} for name, each in differences.items()}
    what = f"The first classifier less the second, on the same {n:,} images, each in units of its own logits."
    yield from report_pairs(list(metrics.values()), pair_tests(list(metrics.values()), paired, evidence.seed), what)


def _described(d: Difference) -> str:
    return format_signed(d.estimate) if d.significant else "not significant"


def _change(evidence: Evidence, which: Tensor, change: str, factor: float) -> Images:
    changed = [CHANGES[change](chunk, factor) for chunk in Images(evidence.originals.bytes[which]).chunks()]
    return Images.of([to_bytes(images) for images in changed])


def _answers(
    evidence: Evidence, name: str, which: Tensor, changed: dict[str, list[Images]]
) -> dict[tuple[str, str], list[Tensor]]:
    """Return by change and answer one value per image for each factor."""
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
