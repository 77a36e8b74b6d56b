"""What the page shows, as one PNG to put into a text."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from unlogit.outside import figure_text
from unlogit.web.explorer.answer import Answer
from unlogit.web.explorer.shown import bars, facts
from unlogit.web.explorer.state import State

INK, SOFT, BEFORE, AFTER = "#1d2127", "#5d6570", "#9aa1ab", "#2b66c2"
DPI = 160


def png(state: State, original: Tensor, answers: Sequence[Answer]) -> bytes:
    """A row of the image, 3 x S x S, and the reconstructions, over the class probabilities in either."""
    across = len(answers) + 1
    figure = Figure(figsize=(2.6 * across, 4.9), dpi=DPI, facecolor="white", layout="constrained")
    rows = figure.subplots(2, across, squeeze=False, height_ratios=(2.6, 1.6))
    attacked = state.attack != "none"
    _draw(rows[0][0], original, "image")
    rows[1][0].set_axis_off()
    for column, answer in enumerate(answers, 1):
        _draw(rows[0][column], answer.reconstruction, answer.name)
        if attacked:
            _draw(rows[0][column].inset_axes((0.0, 0.0, 0.3, 0.3)), answer.seen, "")
        _bars(rows[1][column], answer)
    how = "; ".join(facts(state)) or "unchanged"
    inset = " Inset: the image as the classifier sees it." if attacked else ""
    caption = f"{how}. Bars: class probabilities, grey for the image, blue for the reconstruction.{inset}"
    figure.supxlabel(figure_text(textwrap.fill(caption, 42 * across)), fontsize=7, color=SOFT)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw(axes: object, image: Tensor, title: str) -> None:
    axes.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="bicubic")  # type: ignore[attr-defined]
    axes.set_title(figure_text(title), fontsize=10, color=INK)  # type: ignore[attr-defined]
    axes.set(xticks=[], yticks=[])  # type: ignore[attr-defined]
    axes.spines[:].set_visible(False)  # type: ignore[attr-defined]


def _bars(axes: object, answer: Answer) -> None:
    classes = bars(answer)[::-1]
    positions = range(len(classes))
    axes.barh([p + 0.2 for p in positions], [bar.before for bar in classes], 0.32, color=BEFORE)  # type: ignore[attr-defined]
    axes.barh([p - 0.2 for p in positions], [bar.after for bar in classes], 0.32, color=AFTER)  # type: ignore[attr-defined]
    names = [figure_text(textwrap.shorten(bar.name, 18, placeholder="…")) for bar in classes]
    axes.set_yticks(list(positions), names, fontsize=7, color=INK)  # type: ignore[attr-defined]
    axes.set_xlim(0, 1)  # type: ignore[attr-defined]
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100 %"], fontsize=6, color=SOFT)  # type: ignore[attr-defined]
    axes.tick_params(length=0)  # type: ignore[attr-defined]
    axes.spines[["top", "right", "bottom"]].set_visible(False)  # type: ignore[attr-defined]
    axes.set_xlabel(f"re-encoding error {answer.error:.2f}", fontsize=7, color=SOFT)  # type: ignore[attr-defined]
