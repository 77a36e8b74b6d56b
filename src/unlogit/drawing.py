"""Style of plots, and sheets of images, with one ink and one palette for light and dark backgrounds."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from unlogit.outside import figure_text

INK = "#717782"
GRID = "#8a909c40"
MATCH = "#16915d"
COLOURS = ("#3b7dd8", "#e0662b", "#1f9d76", "#b65fc9", "#b58a00", "#d64562", "#2aa1b8", "#7d7568")
"""Colour of an inverter by its position in the evidence, the same in all figures."""
WIDTH = 2160
"""Width of a full-width figure in pixels: twice the page's column, for screens of high density."""
DPI = 200

LEAST, MOST = 120, 256
"""Side of an image on a sheet, in pixels of the figure."""
GAP, BLOCK_GAP, TITLE, LINE = 8, 46, 44, 30
"""Pixels between images, between blocks, of a block's title, and of a line of text."""
LARGE, SMALL = 8.5, 6.2
"""Font sizes in points. Longer text is set smaller, and then truncated; headings are wrapped first."""
LINES = 3
"""Maximum number of lines of a heading."""


@contextmanager
def style() -> Iterator[None]:
    """Apply the report's style to plots within the context."""
    with mpl.rc_context(
        {
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 8.5,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": GRID,
            "axes.titlesize": 9,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.titlecolor": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "grid.linewidth": 0.6,
            "xtick.color": INK,
            "ytick.color": INK,
            "xtick.major.size": 0,
            "ytick.major.size": 0,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "legend.frameon": False,
            "svg.fonttype": "none",
        }
    ):
        yield


def colour(index: int) -> str:
    """Return the colour of the inverter, or of anything else, at that index."""
    return COLOURS[index % len(COLOURS)]


def panels(rows: int, columns: int, height: float, **options: object) -> tuple[Figure, list[Axes]]:
    """Return a full-width figure with rows x columns axes, `height` inches per row."""
    figure = Figure(figsize=(WIDTH / DPI, height * rows), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(wspace=0.06, hspace=0.08)  # type: ignore[union-attr, call-arg]
    axes = figure.subplots(rows, columns, squeeze=False, **options)  # type: ignore[call-overload]
    return figure, list(axes.flat)


@dataclass(frozen=True)
class Block:
    """Images in rows and columns.

    Attributes:
        title: text over the block, in `ink`; may be empty.
        columns: heading of each column.
        images: rows x columns x 3 x S x S, uint8; or rows of images of several sizes.
        words: text under each image, rows x columns; empty for none.
        marked: which of the words are highlighted, rows x columns.
        inks: colour of each heading, which is then bold; empty for the plain ones.
    """

    title: str
    ink: str
    columns: tuple[str, ...]
    images: Tensor | Sequence[Sequence[Tensor]]
    words: tuple[tuple[str, ...], ...] = ()
    marked: tuple[tuple[bool, ...], ...] = ()
    inks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.images) and all(len(row) == len(self.columns) for row in self.images), self.columns


def inverter_blocks(
    order: Iterable[str],
    before: Mapping[str, Tensor],
    reconstructions: Mapping[str, Mapping[str, Tensor]],
    after: Mapping[str, Tensor] | None = None,
) -> list[Block]:
    """Return a block per inverter, in its colour: shared columns, its reconstructions, and more shared columns.

    Args:
        order: all inverters in the order of their colours.
        before: first columns by heading, each uint8, rows x 3 x S x S.
        reconstructions: the columns of each inverter.
        after: last columns, as before.
    """
    blocks = []
    for name, columns in reconstructions.items():
        shown = {**before, **columns, **(after or {})}
        ink = colour(list(order).index(name))
        blocks.append(Block(name, ink, tuple(shown), torch.stack(list(shown.values()), 1)))
    return blocks


def sheet(
    blocks: Sequence[Block], across: int | None = None, most: int = MOST, note: str = "", *, smooth: bool = False
) -> Figure:
    """Draw blocks that have the same number of columns.

    Images are enlarged by an integer factor, which the last column decides; images of other sizes are resampled
    (bicubic).

    Args:
        blocks: at least one.
        across: blocks side by side; None for as many as leave their images large enough.
        most: largest side of an image in pixels, unless it is larger in itself.
        note: text below all blocks.
        smooth: enlarge by bicubic interpolation in place of whole pixels.
    """
    columns = len(blocks[0].columns)
    rows = max(len(block.images) for block in blocks)
    size = max(row[-1].shape[-1] for block in blocks for row in block.images)
    if across is None:
        across = min(len(blocks), max(1, (WIDTH + BLOCK_GAP) // (columns * (LEAST + GAP) + BLOCK_GAP)))
    room = (WIDTH - (across - 1) * BLOCK_GAP) // (across * columns) - GAP
    cell = size * max(1, min(room, most) // size)
    step, down = cell + GAP, cell + (GAP + LINE if any(block.words for block in blocks) else GAP)
    lines = max(len(_wrapped(heading, cell)) for block in blocks for heading in block.columns)
    head = (TITLE if any(block.title for block in blocks) else 0) + lines * LINE + GAP // 2
    width = across * (columns * step - GAP + BLOCK_GAP) - BLOCK_GAP
    height = math.ceil(len(blocks) / across) * (head + rows * down + GAP) - GAP
    notes = textwrap.wrap(note, max(20, int(width / _letter(SMALL))))
    figure, axes = _canvas(width, height + (GAP + LINE * len(notes) if notes else 0))
    for index, block in enumerate(blocks):
        left = index % across * (columns * step - GAP + BLOCK_GAP)
        top = index // across * (head + rows * down + GAP)
        _write(axes, left, top + TITLE / 2, block.title, columns * step - GAP, block.ink, True, ha="left", va="center")
        for column, heading in enumerate(block.columns):
            text = "\n".join(_wrapped(heading, cell))
            x, ink = left + column * step + cell / 2, block.inks[column] if block.inks else INK
            _write(axes, x, top + head - GAP, text, cell, ink, bool(block.inks), va="bottom")
            for row, images in enumerate(block.images):
                y = top + head + row * down
                _show(axes, images[column], x - cell / 2, y, cell, smooth)
                if block.words:
                    bold = bool(block.marked) and block.marked[row][column]
                    _write(axes, x, y + cell + GAP / 2, block.words[row][column], cell, MATCH if bold else INK, bold)
    for number, line in enumerate(notes):
        axes.text(0, height + GAP + number * LINE, figure_text(line), color=INK, fontsize=SMALL, va="top")
    axes.set(xlim=(0, figure.bbox.width), ylim=(figure.bbox.height, 0))
    return figure


def _canvas(width: int, height: int) -> tuple[Figure, Axes]:
    """Return a figure whose only axes are its pixels, x to the right and y down."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    return figure, axes


def _show(axes: Axes, image: Tensor, x: float, y: float, cell: int, smooth: bool) -> None:
    factor, rest = divmod(cell, image.shape[-1])
    smooth = smooth or rest > 0
    pixels = image.permute(1, 2, 0).numpy() if smooth else enlarge(image, factor)
    axes.imshow(pixels, extent=(x, x + cell, y + cell, y), interpolation="bicubic" if smooth else "nearest")


def _letter(points: float, bold: bool = False) -> float:
    """Return the mean width of a letter in pixels."""
    return (0.64 if bold else 0.57) * DPI / 72 * points


def _wrapped(heading: str, width: int) -> list[str]:
    """Return the lines of a heading over a column of that width."""
    return textwrap.wrap(heading, max(4, int(width / _letter(SMALL + 1, bold=True))))[:LINES]


def _write(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    width: int,
    ink: str,
    bold: bool = False,
    ha: str = "center",
    va: str = "top",
) -> None:
    """Write text within a width, smaller where it is long, and truncated where it is still too long."""
    lines = text.split("\n")
    points = min(LARGE, max(SMALL, width / (max(map(len, lines)) or 1) / _letter(1, bold)))
    fitting = "\n".join(shorten(line, max(4, int(width / _letter(points, bold)))) for line in lines)
    weight = "bold" if bold else "normal"
    axes.text(x, y, figure_text(fitting), color=ink, fontsize=points, weight=weight, ha=ha, va=va)


def enlarge(image: Tensor, factor: int) -> np.ndarray:
    """Return an image, uint8, 3 x S x S, as H x W x 3 with every pixel a square of `factor`."""
    return np.kron(image.permute(1, 2, 0).numpy(), np.ones((factor, factor, 1), np.uint8))


def shorten(name: str, length: int) -> str:
    """Return a name in at most that many characters."""
    return name if len(name) <= length else name[: length - 1].rstrip(" ,-") + "…"
