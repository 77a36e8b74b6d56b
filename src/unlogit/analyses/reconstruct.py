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
QUESTION = "What does each inverter reconstruct from the representation of an image?"

CELLS, MANY = 10, 14
"""Images per row of the page: as many blocks as fit into the first number, or two if they fit into the second."""
BLANK = 232
"""Grey of a tile in the place of an original."""


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Number and selection of the images shown."""

    num_images: Count = 24
    """Number of images shown, drawn at random."""
    seed: Seed = 0
    """Random seed for drawing the images."""
    originals: bool = True
    """Show the originals. Without them, a grey tile over the predicted class stands for each, so that the figure can be
    published where the images cannot."""


@dataclass(frozen=True)
class Shown:
    """Row of one image: the class under the original and each reconstruction, and which of these keep the class."""

    index: int
    words: tuple[str, ...]
    same_class: tuple[bool, ...]


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield the figure, and in how many of the shown images each inverter keeps the predicted class."""
    rows = [_row(evidence, index) for index in evidence.sample(config.num_images, config.seed).tolist()]
    with style():
        figure = _draw(evidence, rows, config.originals)
    caption = _caption(evidence, len(rows))
    if not config.originals:
        caption += " The originals are not shown."
    if any(" / " in row.words[0] for row in rows):
        caption += " Where two classes stand under an original, the classifiers predict different ones."
    title = "Originals and reconstructions" if config.originals else TITLE
    yield Figure("grid", title, caption, figure)
    counts = [sum(row.same_class[i] for row in rows) for i in range(len(evidence.inverters))]
    counted = ", ".join(f"{count} for {name}" for name, count in zip(evidence.inverters, counts, strict=True))
    yield Finding(f"Of these {len(rows)} images, the reconstruction keeps the predicted class in {counted}.")


def _row(evidence: Evidence, index: int) -> Shown:
    before, after, same_class = [], [], []
    for name, inverter in evidence.inverters.items():
        classes = short_names(inverter.representation.classifier.class_names)
        reconstructed = evidence.reconstructed(name)
        predicted, reencoded = int(reconstructed.logits[index].argmax()), int(reconstructed.reencoded[index].argmax())
        before.append(classes[predicted])
        after.append(classes[reencoded])
        same_class.append(predicted == reencoded)
    # Two classifiers may predict different classes for one original.
    return Shown(index, (" / ".join(dict.fromkeys(before)), *after), tuple(same_class))


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
        + (f"Deviations from the paper: {deviations}." if deviations else "No deviations from the paper.")
    )


def _draw(evidence: Evidence, rows: list[Shown], originals: bool) -> Drawing:
    names = ("original" if originals else "original (not shown)", *evidence.inverters)
    pixels = [evidence.originals.bytes, *(evidence.reconstructed(name).images.bytes for name in evidence.inverters)]
    if not originals:
        pixels[0] = torch.full_like(pixels[0], BLANK)
    inks = (INK, *map(colour, range(len(evidence.inverters))))
    across = min(max(1, CELLS // len(names), min(2, MANY // len(names))), len(rows))
    per_block = math.ceil(len(rows) / across)
    blocks = [
        Block(
            "",
            INK,
            names,
            torch.stack([torch.stack([source[row.index] for source in pixels]) for row in part]),
            tuple(row.words for row in part),
            tuple((False, *row.same_class) for row in part),
            inks,
        )
        for part in (rows[start : start + per_block] for start in range(0, len(rows), per_block))
    ]
    return sheet(blocks, across, WIDTH // (CELLS // 2) - GAP)
