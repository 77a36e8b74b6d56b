"""Sheets of pictures: a block an inverter, rows of pictures, a word over each column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor

from unlogit.analyses._evidence import Evidence
from unlogit.analyses._style import DPI, INK, WIDTH, canvas, colour, enlarge, shorten
from unlogit.outside import figure_text

LEAST, MOST = 120, 256
"""Side of a picture on the page, in pixels of the figure."""
GAP, BLOCK_GAP, TITLE, HEADING = 8, 48, 44, 34
SIZES = (8.5, 7.2)
"""Of titles and of words over columns, in points."""


@dataclass(frozen=True)
class Block:
    """Pictures in rows and columns.

    Attributes:
        title: over the block, in `ink`.
        columns: a word over each column.
        pictures: uint8, rows x columns x 3 x S x S.
    """

    title: str
    ink: str
    columns: tuple[str, ...]
    pictures: Tensor

    def __post_init__(self) -> None:
        assert self.pictures.shape[1] == len(self.columns), (self.pictures.shape, self.columns)


def inverter_blocks(
    evidence: Evidence,
    before: Mapping[str, Tensor],
    made: Mapping[str, Mapping[str, Tensor]],
    after: Mapping[str, Tensor] | None = None,
) -> list[Block]:
    """A block an inverter, in its colour: columns that all share, what it made, and more that all share.

    A column is a word and its pictures, uint8, rows x 3 x S x S.
    """
    blocks = []
    for name, columns in made.items():
        every = {**before, **columns, **(after or {})}
        ink = colour(list(evidence.inverters).index(name))
        blocks.append(Block(name, ink, tuple(every), torch.stack(list(every.values()), 1)))
    return blocks


def sheet(blocks: Sequence[Block]) -> Drawing:
    """Blocks of one shape, as many side by side as leave their pictures large enough."""
    rows, columns, _, size, _ = blocks[0].pictures.shape
    across = min(len(blocks), max(1, (WIDTH + BLOCK_GAP) // (columns * (LEAST + GAP) + BLOCK_GAP)))
    room = (WIDTH - (across - 1) * BLOCK_GAP) // (across * columns) - GAP
    cell = size * max(1, min(room, MOST) // size)
    block_width, block_height = columns * (cell + GAP) - GAP, TITLE + HEADING + rows * (cell + GAP)
    width = across * (block_width + BLOCK_GAP) - BLOCK_GAP
    height = math.ceil(len(blocks) / across) * (block_height + GAP)
    figure, axes = canvas(width, height)
    for place, block in enumerate(blocks):
        left, top = place % across * (block_width + BLOCK_GAP), place // across * (block_height + GAP)
        axes.text(
            left,
            top + TITLE / 2,
            figure_text(shorten(block.title, int(block_width / (0.64 * DPI / 72 * SIZES[0])))),
            color=block.ink,
            fontsize=SIZES[0],
            weight="bold",
            va="center",
        )
        for column, word in enumerate(block.columns):
            x, letters = left + column * (cell + GAP) + cell / 2, int(cell / (0.57 * DPI / 72 * SIZES[1]))
            axes.text(
                x,
                top + TITLE + HEADING / 2,
                figure_text(shorten(word, max(4, letters))),
                color=INK,
                fontsize=SIZES[1],
                ha="center",
                va="center",
            )
        paper = _compose(block.pictures, cell // size)
        edge = top + TITLE + HEADING
        extent = (left, left + paper.shape[1], edge + paper.shape[0], edge)
        axes.imshow(paper, extent=extent, interpolation="nearest")
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure


def _compose(pictures: Tensor, factor: int) -> np.ndarray:
    """One RGBA picture of all of them, transparent between."""
    rows, columns, _, size, _ = pictures.shape
    step = size * factor + GAP
    paper = np.zeros((rows * step - GAP, columns * step - GAP, 4), np.uint8)
    for row in range(rows):
        for column in range(columns):
            y, x = row * step, column * step
            spot = paper[y : y + step - GAP, x : x + step - GAP]
            spot[..., :3], spot[..., 3] = enlarge(pictures[row, column], factor), 255
    return paper
