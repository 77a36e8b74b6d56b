"""How figures look: one ink and one set of colours that can be read on white and on near-black paper alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

INK = "#717782"
GRID = "#8a909c40"
MATCH = "#16915d"
COLOURS = ("#3b7dd8", "#e0662b", "#1f9d76", "#b65fc9", "#b58a00", "#d64562", "#2aa1b8", "#7d7568")
"""By an inverter's place in the evidence, so that it has one colour in all figures."""
WIDTH = 2160
"""Of a full-width figure in pixels: twice the page's column, for screens of high density."""
DPI = 200


@contextmanager
def style() -> Iterator[None]:
    """Within it, figures are made in the report's look."""
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


def colour(place: int) -> str:
    """The colour of the thing at that place."""
    return COLOURS[place % len(COLOURS)]


def panels(rows: int, columns: int, height: float, **options: object) -> tuple[Figure, list[Axes]]:
    """A full-width figure with rows x columns axes, `height` inches a row."""
    figure = Figure(figsize=(WIDTH / DPI, height * rows), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(wspace=0.06, hspace=0.08)  # type: ignore[union-attr, call-arg]
    axes = figure.subplots(rows, columns, squeeze=False, **options)  # type: ignore[call-overload]
    return figure, list(axes.flat)


def canvas(width: int, height: int) -> tuple[Figure, Axes]:
    """A figure whose only axes are its pixels, x to the right and y down, for pictures at whole multiples."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def enlarge(picture: Tensor, factor: int) -> np.ndarray:
    """A uint8 picture, 3 x S x S, as H x W x 3 with every pixel a square of `factor`."""
    return np.kron(picture.permute(1, 2, 0).numpy(), np.ones((factor, factor, 1), np.uint8))


def shorten(name: str, length: int) -> str:
    """A name in at most that many characters."""
    return name if len(name) <= length else name[: length - 1].rstrip(" ,-") + "…"
