"""Figure 1 of the paper: the same pictures, a column an inverter."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from unlogit.analyses import AnalysisConfig, Evidence, Figure, Finding, Result
from unlogit.analyses._style import DPI, INK, MATCH, WIDTH, canvas, colour, enlarge, shorten, style
from unlogit.outside import figure_text, short_names
from unlogit.settings import Count, Seed

TITLE = "Reconstructions"
QUESTION = "What does each inverter see of a picture, once all that it is given is the classifier's answer?"

CELLS, MANY = 10, 14
"""Pictures across the page: as many blocks side by side as the first allows; two where the second allows two."""
GAP, BLOCK_GAP, HEADER, LABEL = 8, 44, 96, 40
LARGE, MIDDLE, SMALL = 8.5, 7.2, 6.2
"""Of words, in points: smaller ones for longer words, and then they are cut short; headings are wrapped first."""
LINES = 3
"""Of a heading at most."""


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Which pictures are shown."""

    pictures: Count = 24
    """Number of images shown, drawn at random."""
    seed: Seed = 0
    """Random seed of that draw."""


@dataclass(frozen=True)
class Shown:
    """One picture's row: enlarged pictures by column, a word under each, and which of them keep their class."""

    place: int
    words: tuple[str, ...]
    kept: tuple[bool, ...]


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yields the figure, and in how many of the shown pictures each inverter kept the predicted class."""
    rows = [_row(evidence, place) for place in evidence.sample(config.pictures, config.seed).tolist()]
    with style():
        figure = _draw(evidence, rows)
    caption = _caption(evidence, len(rows))
    if any(" / " in row.words[0] for row in rows):
        caption += " Two words under an original: the classifiers differ."
    yield Figure("grid", "Originals and what was made of them", caption, figure)
    counts = [sum(row.kept[i] for row in rows) for i in range(len(evidence.inverters))]
    told = ", ".join(f"{count} for {name}" for name, count in zip(evidence.inverters, counts, strict=True))
    yield Finding(f"Of these {len(rows)} pictures, the reconstruction keeps the predicted class in {told}.")


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
    by_aids: dict[str, list[str]] = {}
    for name, inverter in evidence.inverters.items():
        if inverter.aids:
            by_aids.setdefault(", ".join(inverter.aids), []).append(name)
    aids = "; ".join(f"{', '.join(names)}: {aids}" for aids, names in by_aids.items())
    drawn = "All" if shown == len(evidence) else f"{shown} of"
    return (
        f"{drawn} {len(evidence):,} images"
        + ("" if shown == len(evidence) else ", drawn at random and not chosen")
        + ". Under each picture is the class that the classifier predicts for it; "
        "green where a reconstruction keeps the original's. "
        + (f"Aids beside the paper's single loss: {aids}." if aids else "No aids beside the paper's single loss.")
    )


def _draw(evidence: Evidence, rows: list[Shown]) -> Drawing:
    columns = 1 + len(evidence.inverters)
    blocks = min(max(1, CELLS // columns, min(2, MANY // columns)), len(rows))
    across = blocks * columns
    room = (WIDTH - (blocks - 1) * BLOCK_GAP) // max(across, CELLS // 2) - GAP
    size = evidence.view.size
    cell = size * max(1, room // size)
    step, down = cell + GAP, cell + LABEL
    per_block = math.ceil(len(rows) / blocks)
    width = across * step - GAP * blocks + (blocks - 1) * BLOCK_GAP
    figure, axes = canvas(width, HEADER + per_block * down)
    for number in range(blocks):
        left = number * (columns * step - GAP + BLOCK_GAP)
        mine = rows[number * per_block : (number + 1) * per_block]
        if not mine:
            break
        for column, name in enumerate(("original", *evidence.inverters)):
            ink = INK if column == 0 else colour(column - 1)
            _word(axes, left + column * step + cell / 2, HEADER - 12, name, cell, ink, bold=True, bottom=True)
        for line, row in enumerate(mine):
            top = HEADER + line * down
            pictures = [evidence.originals, *(evidence.reconstructed(name).pictures for name in evidence.inverters)]
            for column, (source, word, kept) in enumerate(zip(pictures, row.words, (False, *row.kept), strict=True)):
                x = left + column * step
                picture = enlarge(source.bytes[row.place], cell // size)
                axes.imshow(picture, extent=(x, x + cell, top + cell, top), interpolation="nearest")
                _word(axes, x + cell / 2, top + cell + 4, word, cell, MATCH if kept else INK, bold=kept)
    axes.set(xlim=(0, width), ylim=(HEADER + per_block * down, 0))
    return figure


def _word(
    axes: Axes, x: float, y: float, text: str, width: int, ink: str, *, bold: bool = False, bottom: bool = False
) -> None:
    # How wide a letter of this font is, on average and of its height.
    letter = (0.64 if bold else 0.57) * DPI / 72
    lines = textwrap.wrap(text, max(4, int(width / (MIDDLE * letter))))[:LINES] if bottom else [text]
    points = min(LARGE, max(SMALL, width / (max(map(len, lines), default=1) * letter)))
    axes.text(
        x,
        y,
        figure_text("\n".join(shorten(line, max(4, int(width / (points * letter)))) for line in lines)),
        color=ink,
        fontsize=points,
        weight="bold" if bold else "normal",
        ha="center",
        va="bottom" if bottom else "top",
    )
