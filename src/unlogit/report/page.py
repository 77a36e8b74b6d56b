"""Write the report: `report.html` is self-contained; `results/` and `metrics.json` are for further use."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from unlogit.analyses import Evidence, Table, format_estimate
from unlogit.drawing import colour
from unlogit.files import check_replaceable, marked, replacing, report_disk_full, to_json
from unlogit.methods import Inverter, LearnedInverter
from unlogit.methods.nearest import NearestNeighbour
from unlogit.report.overlap import describe
from unlogit.report.results import ReportImage
from unlogit.report.sections import Part, gather
from unlogit.statistics import Estimate

PAGE, METRICS = "report.html", "metrics.json"
OURS = {
    PAGE: marked(b'<meta name="generator" content="unlogit">'),
    METRICS: marked(b'[\n {\n  "analysis": "', b"[]\n"),
}
"""Checks that recognise the files of an earlier report, which may be replaced."""
HEADLINES = ("reconstruct", "quality", "probe", "identify", "recognition")
"""Analyses whose first sentences summarise a report."""
RESULTS = "results"
"""Subfolder of a report in which `gather` keeps the results."""


def write_report(
    folder: Path | str,
    title: str,
    evidences: Mapping[str, Evidence],
    *,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    command: str,
) -> list[Part]:
    """Run analyses and write `folder`/report.html, metrics.json and results/.

    An analysis whose inverters, images, configuration and code are those of its folder in results/ is not run
    again: a second report is fast, and an interrupted one resumes.

    Args:
        folder: folder of the report, e.g. that of a run.
        title: heading of the page.
        evidences: evidence by the name of its part, e.g. {"Scenes": …, "Natural images": …}.
        configs: by part, its analyses by name with their configurations; for other parts all with their defaults.
        command: command that makes this report again, shown in it.

    Returns:
        The results by part, for `summary`.

    Raises:
        UnlogitError: an unknown analysis, evidence that cannot be read, a file or folder in place of a result that
            unlogit did not write, or a full disk.
    """
    folder = Path(folder)
    check_report(folder)
    with report_disk_full(folder):
        parts = gather(evidences, configs or {}, folder / RESULTS)
        contents = {METRICS: to_json(metrics(parts), indent=1) + "\n", PAGE: render(title, parts, command)}
        for name, content in contents.items():
            with replacing(folder / name, OURS[name]) as fresh:
                # Lone surrogates of a file's or inverter's name, which UTF-8 does not take, are written as escapes.
                fresh.write_text(content, encoding="utf-8", errors="backslashreplace")
    return parts


def check_report(folder: Path) -> None:
    """Raise `UnlogitError` if files in place of a report's were not written by unlogit."""
    for name, ours in OURS.items():
        check_replaceable(folder / name, ours)


def metrics(parts: list[Part]) -> list[dict[str, Any]]:
    """Return every number as a plain record; a point of a curve is called NAME@POSITION."""
    return [
        {
            "analysis": section.analysis,
            "name": record.label,
            **dataclasses.asdict(record.estimate),
            "inverter": record.inverter,
            "images": part.evidence.source.spec,
        }
        for part in parts
        for section in part.sections
        for record in section.records
    ]


@dataclass(frozen=True)
class ShownInverter:
    """Description of an inverter on the page."""

    name: str
    colour: str
    reads: str
    classifier: str
    deviations: str
    seen: str


def render(title: str, parts: list[Part], command: str) -> str:
    """Return the page as HTML, with its figures embedded."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("unlogit.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["short_paths"] = short_paths
    environment.tests |= {"estimate": lambda cell: isinstance(cell, Estimate)}
    return environment.get_template("report.html.jinja").render(
        title=title,
        parts=parts,
        command=command,
        format_estimate=format_estimate,
        leads=leads,
        is_numeric=is_numeric,
        headline=headline,
        training=describe,
        url=_url,
        colours=lambda part: {name: colour(index) for index, name in enumerate(part.evidence.inverters)},
        inverters=lambda part: [_shown(n, i, p) for p, (n, i) in enumerate(part.evidence.inverters.items())],
        arrows={"higher": "↑", "lower": "↓"},
        made=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0"),
        versions=", ".join(f"{package} {metadata.version(package)}" for package in ("unlogit", "torch")),
        seconds=sum(section.seconds for part in parts for section in part.sections),
    )


def leads(table: Table, column: int, cell: Estimate) -> bool:
    """Return whether a cell is the best of its column; False for a single value, or for one at chance.

    Whether it is significantly better is decided by a paired test of the analysis, not by two intervals, which ignore
    the variation that both share.
    """
    estimates = [value for row in table.rows if isinstance(value := row[column], Estimate)]
    better, chance = table.columns[column].better, table.columns[column].chance
    if better is None or len(estimates) < 2 or (chance is not None and cell.low <= chance <= cell.high):
        return False
    return cell.value == (max if better == "higher" else min)(e.value for e in estimates)


def is_numeric(table: Table, column: int) -> bool:
    """Return whether a column holds numbers, whose cells are aligned to the right."""
    return any(isinstance(row[column], Estimate) for row in table.rows)


def short_paths(text: str) -> str:
    """Return text whose paths of four parts or more are cut to the last two: '…/photos/cat.jpg'."""
    return re.sub(r"(?:[^\s/:=]*/){3,}([^\s/]+/[^\s/]+)", r"…/\1", text)


def headline(part: Part) -> tuple[ReportImage | None, list[str]]:
    """Return the image and the sentences that a part is summarised by: the first of each of `HEADLINES`."""
    sections = {section.analysis: section for section in part.sections}
    chosen = [sections[name] for name in HEADLINES if name in sections]
    figure = next((figure for section in chosen for figure in section.figures if not figure.charted), None)
    return figure, [section.findings[0] for section in chosen if section.findings]


def _url(image: ReportImage) -> Markup:
    return Markup("data:image/png;base64," + base64.b64encode(image.png.read_bytes()).decode())


def _shown(name: str, inverter: Inverter, index: int) -> ShownInverter:
    representation = inverter.representation
    layers = {"logits": f"{representation.dim:,} logits", "label": "the predicted class alone"}
    seen = ""
    if isinstance(inverter, NearestNeighbour):
        seen = f"looks up {len(inverter.indices):,} images"
    elif isinstance(inverter, LearnedInverter) and {"images_seen", "hours"} <= inverter.facts.keys():
        seen = f"{inverter.facts['images_seen']:,} images in {inverter.facts['hours']:.1f} hours"
        if "images_before" in inverter.facts:
            seen += f", after {inverter.facts['images_before']:,} of what it started from"
    return ShownInverter(
        name,
        colour(index),
        layers.get(representation.layer, f"{representation.layer}, {representation.dim:,} values"),
        representation.classifier.spec,
        ", ".join(inverter.deviations),
        seen,
    )
