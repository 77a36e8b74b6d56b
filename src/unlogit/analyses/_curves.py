"""Curves with their intervals: one panel per measure, one line per inverter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from unlogit.drawing import INK, colour, panels
from unlogit.outside import figure_text
from unlogit.statistics import Estimate

Curves = Mapping[str, Mapping[str, Sequence[Estimate]]]
"""By panel title and line name, a value for each point of the axis."""


def draw_curves(
    curves: Curves, points: Sequence[float], axis: str, names: Sequence[str], *, log: bool = False, across: int = 4
) -> Drawing:
    """Draw panels over the same points, labelled `axis`; colours are by the position in `names`, all inverters."""
    down = -(-len(curves) // across)
    figure, axes = panels(down, across, 1.9)
    for index, (title, lines) in enumerate(curves.items()):
        panel = axes[index]
        for name, estimates in lines.items():
            draw_curve(panel, points, estimates, colour(names.index(name)), name)
        panel.set_title(title)
        if log:
            panel.set_xscale("log")
            panel.set_xticks(points, [f"{p:.2g}" for p in points])
            panel.minorticks_off()
        else:
            panel.locator_params(axis="x", nbins=5)
        panel.locator_params(axis="y", nbins=4)
        if index >= len(curves) - across:
            panel.set_xlabel(axis)
    for panel in axes[len(curves) :]:
        panel.axis("off")
    lines = next(iter(curves.values()))
    handles, labels = axes[0].get_legend_handles_labels()
    if len(lines) > 1:
        figure.legend(handles, labels, loc="outside upper left", ncols=min(len(lines), 5), labelcolor=INK)
    return figure


def draw_curve(panel: Axes, points: Sequence[float], estimates: Sequence[Estimate], ink: str, name: str) -> None:
    """Draw a line with the band of its intervals."""
    panel.fill_between(
        points, [e.low for e in estimates], [e.high for e in estimates], color=ink, alpha=0.22, linewidth=0
    )
    panel.plot(
        points,
        [e.value for e in estimates],
        color=ink,
        linewidth=1.6,
        marker="o",
        markersize=3,
        label=figure_text(name),
    )
