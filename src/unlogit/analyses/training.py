"""Training curves and configurations of the inverters, from the folders of their runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Result, Table
from unlogit.drawing import COLOURS, colour, panels, style
from unlogit.errors import UnlogitError
from unlogit.methods.biggan import BigGANConfig
from unlogit.outside import figure_text
from unlogit.settings import Bounds
from unlogit.training.run_folder import RunFolder, upgraded

TITLE = "Training"
QUESTION = "How did the inverters get there, and would longer training still have helped?"

CURVES = {
    "val/layout_cosine": "layout cosine ↑",
    "val/agreement": "same class ↑",
    "val/logit_cosine": "logit cosine ↑",
    "val/pixel_error": "pixel error ↓",
    "loss_d": "discriminator's loss",
    "loss_g": "generator's loss",
    "layout": "layout error in training ↓",
    "val/diversity": "diversity over noise",
}
"""Titles by key of metrics.jsonl, in the order drawn."""


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Options of the findings."""

    last: Annotated[float, Bounds(0, 1, above=True)] = 0.2
    """Final share of a run over which its improvement is measured, above 0 and at most 1."""


@dataclass(frozen=True)
class Run:
    """Configuration and metrics of a run."""

    name: str
    config: dict[str, Any]
    lines: list[dict[str, Any]]

    def curve(self, key: str) -> tuple[list[float], list[float]]:
        """Return numbers of images seen, and values."""
        points = [(line["images"], line[key]) for line in self.lines if key in line]
        return [p[0] for p in points], [p[1] for p in points]


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield curves, the configuration, and the improvement at the end of each run; nothing without runs."""
    runs = [_read(name, evidence) for name in evidence.runs]
    runs = [r for r in runs if r.lines]
    if not runs:
        return
    with style():
        figure = _draw(evidence, runs)
    caption = "Against training images seen, on the run's validation images where an arrow says which way is better."
    if any(_warm_start(r.config) for r in runs):
        caption += " Shaded: the warm start, before the adversarial game begins."
    yield Figure("curves", "Curves", caption, figure)
    columns = (Column("setting"), *(Column(r.name) for r in runs))
    yield Table("settings", "Configuration", "As in config.json of each run.", columns, tuple(_settings(runs)))
    for r in runs:
        yield from _trend(r, config.last)


def _read(name: str, evidence: Evidence) -> Run:
    folder = evidence.runs[name]
    path = folder / "config.json"
    if not path.is_file():
        raise UnlogitError(f"run '{folder}': has no config.json; a run is the --out folder of 'unlogit train'")
    try:
        config = upgraded(json.loads(path.read_text()))
        _describe(config)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnlogitError(
            f"run '{folder}': its config.json is not one of 'unlogit train' ({type(error).__name__}: {error}); "
            "give the --out folder of a training"
        ) from error
    return Run(name, config, RunFolder(folder).lines())


def _settings(runs: list[Run]) -> Iterator[tuple[Cell, ...]]:
    """Yield rows of settings from config.json and the last line of metrics.jsonl, one column per run."""
    columns = [_describe(r.config) | _progress(r.lines[-1]) for r in runs]
    for setting in dict.fromkeys(setting for column in columns for setting in column):
        yield setting, *(column.get(setting, "–") for column in columns)


def _describe(c: dict[str, Any]) -> dict[str, str]:
    """Return the settings of a run by their names in the table."""
    (name, options), *_ = c["method"].items()
    common = {
        "classifier": f"{c['classifier']}, its {c['layer']}",
        "training images": f"{c['images']}, {c['crop']} crop{', flipped' if c['flip'] else ''}",
        "method": name,
        "begins with": c.get("start") or "random weights",
        "averaging": f"half-life {c['ema_half_life']:,.0f} images",
        "seed": str(c["seed"]),
        "batch": str(c["batch"]),
    }
    return common | (_describe_biggan(options) if name == BigGANConfig.NAME else {})


def _describe_biggan(c: dict[str, Any]) -> dict[str, str]:
    g, d = c["generator"], c["discriminator"]
    attention = f"attention at {g['attention']} px" if g["attention"] else "no attention"
    frozen = f", on {d['network']}" if d["kind"] == "projected" else ""
    return {
        "generator": f"{g['size']} px, {g['channels']} channels, {g['noise']} noise, {attention}",
        "discriminator": d["kind"] + frozen,
        "discriminator steps": f"{c['d_steps']} per generator step",
        "Adam": f"{c['learning_rate_g']:g} generator, {c['learning_rate_d']:g} discriminator, betas {c['betas']}",
        "discriminator first": f"{c['discriminator_first']:,} images" if c.get("discriminator_first") else "no",
        "warm start": f"{c['warm_start']:,} images" if c["warm_start"] else "none",
        "layout term": f"weight {c['layout_weight']:g}" if c["layout_weight"] else "none",
    }


def _warm_start(c: dict[str, Any]) -> int:
    return max(int(options.get("warm_start", 0)) for options in c["method"].values())


def _progress(line: dict[str, Any]) -> dict[str, str]:
    return {"images seen": f"{line['images']:,}", "hours": f"{line['seconds'] / 3600:.2f}"}


def _trend(r: Run, share: float) -> Iterator[Finding]:
    seen, values = r.curve("val/layout_cosine")
    if len(values) < 2:
        return
    start = seen[-1] * (1 - share)
    # The last validation before that part of the run.
    before = max((i for i, s in enumerate(seen[:-1]) if s <= start), default=0)
    yield Finding(
        f"{r.name}: the layout cosine went from {values[before]:.3f} at {seen[before]:,} images to {values[-1]:.3f} "
        f"at {seen[-1]:,}; its highest, {max(values):.3f}, was at {seen[values.index(max(values))]:,}."
    )


def _draw(evidence: Evidence, runs: list[Run]) -> Drawing:
    curves = {key: title for key, title in CURVES.items() if any(key in line for r in runs for line in r.lines)}
    figure, axes = panels(-(-len(curves) // 4), 4, 1.75)
    names = list(evidence.inverters)
    for axis in axes[len(curves) :]:
        axis.axis("off")
    for axis, (key, title) in zip(axes, curves.items(), strict=False):
        for index, r in enumerate(runs):
            # A run has the colour of its inverter.
            ink = colour(names.index(r.name)) if r.name in names else COLOURS[-1 - index % len(COLOURS)]
            seen, values = r.curve(key)
            marker = "o" if key.startswith("val/") and len(seen) < 40 else ""
            axis.plot(seen, values, color=ink, linewidth=1.4, marker=marker, markersize=2.5, label=figure_text(r.name))
        _finish(axis, title, max(_warm_start(r.config) for r in runs), max(r.lines[-1]["images"] for r in runs))
    if len(runs) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(runs))
    return figure


def _finish(axis: Axes, title: str, warm: int, longest: int) -> None:
    axis.set_title(title)
    axis.set_xlim(0, longest)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g}k" if x else "0"))
    axis.locator_params(nbins=4)
    if warm:
        axis.axvspan(0, min(warm, longest), color="#8a909c", alpha=0.12, linewidth=0)
