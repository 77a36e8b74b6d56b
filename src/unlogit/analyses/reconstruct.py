"""Figure 1 of the paper: the same images, one column per inverter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure as Drawing

from unlogit.analyses import AnalysisConfig, Evidence, Figure, Finding, Result
from unlogit.drawing import GAP, INK, WIDTH, Block, colour, sheet, style
from unlogit.outside import short_names
from unlogit.settings import Count, Seed

TITLE = "Reconstructions"
QUESTION = "What does each inverter see of an image, once all that it is given is the classifier's answer?"

CELLS, MANY = 10, 14
"""Images across the page: as many blocks side by side as the first allows; two where the second allows two."""


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Which images are shown."""

    num_images: Count = 24
    """Number of images shown, drawn at random."""
    seed: Seed = 0
    """Random seed of that draw."""


@dataclass(frozen=True)
class Shown:
    """The row of one image: a word under the original and each reconstruction, and which of these keep their class."""

    place: int
    words: tuple[str, ...]
    kept: tuple[bool, ...]


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yields the figure, and in how many of the shown images each inverter kept the predicted class."""
    rows = [_row(evidence, place) for place in evidence.sample(config.num_images, config.seed).tolist()]
    with style():
        figure = _draw(evidence, rows)
    caption = _caption(evidence, len(rows))
    if any(" / " in row.words[0] for row in rows):
        caption += " Two words under an original: the classifiers differ."
    yield Figure("grid", "Originals and what was made of them", caption, figure)
    counts = [sum(row.kept[i] for row in rows) for i in range(len(evidence.inverters))]
    counted = ", ".join(f"{count} for {name}" for name, count in zip(evidence.inverters, counts, strict=True))
    yield Finding(f"Of these {len(rows)} images, the reconstruction keeps the predicted class in {counted}.")


def _row(evidence: Evidence, place: int) -> Shown:
    before, after, kept = [], [], []
    for name, inverter in evidence.inverters.items():
        classes = short_names(inverter.representation.classifier.class_names)
        made = evidence.reconstructed(name)
        asked, answered = int(made.logits[place].argmax()), int(made.reencoded[place].argmax())
        before.append(classes[asked])
        after.append(classes[answered])
        kept.append(asked == answered)
    # Two classifiers may see two things in one original.
    return Shown(place, (" / ".join(dict.fromkeys(before)), *after), tuple(kept))


def _caption(evidence: Evidence, shown: int) -> str:
    by_deviations: dict[str, list[str]] = {}
    for name, inverter in evidence.inverters.items():
        if inverter.deviations:
            by_deviations.setdefault(", ".join(inverter.deviations), []).append(name)
    deviations = "; ".join(f"{', '.join(names)}: {deviations}" for deviations, names in by_deviations.items())
    drawn = "All" if shown == len(evidence) else f"{shown} of"
    return (
        f"{drawn} {len(evidence):,} images"
        + ("" if shown == len(evidence) else ", drawn at random and not chosen")
        + ". Under each image is the class that the classifier predicts for it; "
        "green where a reconstruction keeps the original's. "
        + (
            f"Deviations beside the paper's single loss: {deviations}."
            if deviations
            else "No deviations beside the paper's single loss."
        )
    )


def _draw(evidence: Evidence, rows: list[Shown]) -> Drawing:
    names = ("original", *evidence.inverters)
    images = [evidence.originals, *(evidence.reconstructed(name).images for name in evidence.inverters)]
    inks = (INK, *map(colour, range(len(evidence.inverters))))
    across = min(max(1, CELLS // len(names), min(2, MANY // len(names))), len(rows))
    per_block = math.ceil(len(rows) / across)
    blocks = [
        Block(
            "",
            INK,
            names,
            torch.stack([torch.stack([source.bytes[row.place] for source in images]) for row in part]),
            tuple(row.words for row in part),
            tuple((False, *row.kept) for row in part),
            inks,
        )
        for part in (rows[start : start + per_block] for start in range(0, len(rows), per_block))
    ]
    return sheet(blocks, across, WIDTH // (CELLS // 2) - GAP)
