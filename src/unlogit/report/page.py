"""Writing the page: `report.html` alone says everything; `figures/` and `metrics.json` are for further use."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
from markupsafe import Markup
from PIL import Image

from unlogit.analyses import Evidence, Figure, Table
from unlogit.analyses._style import colour
from unlogit.files import replacing
from unlogit.intervals import Estimate
from unlogit.inverters import GeneratorInverter, Inverter
from unlogit.inverters.nearest import NearestNeighbour
from unlogit.report.sections import Part, Section, gather, told


def write_report(
    folder: Path,
    title: str,
    evidences: Mapping[str, Evidence],
    *,
    configs: Mapping[str, Any] | None = None,
    command: str,
) -> list[Part]:
    """Run analyses and write `folder`/report.html, metrics.json and figures/; each is replaced whole or not at all.

    Args:
        folder: where, e.g. the folder of a run.
        title: the page's heading.
        evidences: by the name of its part, e.g. {"Scenes": …, "Natural pictures": …}.
        configs: the analyses by name with their configurations; None runs all with their defaults.
        command: what makes this report again, shown in it.

    Returns:
        what was found, for `summary`.

    Raises:
        UnlogitError: an unknown analysis, or evidence that cannot be read.
    """
    parts = gather(evidences, configs)
    drawn = {stem: png(figure) for stem, figure in _each(parts, "figures")}
    with replacing(folder / "figures", folder=True) as fresh:
        for stem, figure in _each(parts, "figures"):
            _save(figure, drawn[stem], fresh / stem)
        for stem, table in _each(parts, "tables"):
            (fresh / f"{stem}.csv").write_text(as_csv(table), encoding="utf-8")
    with replacing(folder / "metrics.json") as fresh:
        fresh.write_text(json.dumps(metrics(parts), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with replacing(folder / "report.html") as fresh:
        fresh.write_text(render(title, parts, command, drawn), encoding="utf-8")
    return parts


def metrics(parts: list[Part]) -> list[dict[str, Any]]:
    """Every number as a plain record."""
    return [
        {"analysis": section.analysis, "name": number.name}
        | dataclasses.asdict(number.estimate)
        | {"inverter": number.inverter, "images": part.evidence.source.spec}
        for part in parts
        for section in part.sections
        for number in section.numbers
    ]


def as_csv(table: Table) -> str:
    """A table as CSV; an estimate fills four columns: value, low, high, n."""
    # A column is of estimates where any of its cells is one.
    wide = [any(isinstance(row[i], Estimate) for row in table.rows) for i in range(len(table.columns))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [
        [c.title, f"{c.title} low", f"{c.title} high", f"{c.title} n"] if w else [c.title]
        for c, w in zip(table.columns, wide, strict=True)
    ]
    writer.writerow([head for group in heads for head in group])
    for row in table.rows:
        out: list[object] = []
        for cell, w in zip(row, wide, strict=True):
            if isinstance(cell, Estimate):
                out += [cell.value, cell.low, cell.high, cell.n]
            else:
                out += ["" if cell is None else cell, *([""] * 3 if w else [])]
        writer.writerow(out)
    return text.getvalue()


@dataclass(frozen=True)
class ShownInverter:
    """How the page introduces an inverter."""

    name: str
    colour: str
    reads: str
    classifier: str
    aids: str
    seen: str


def render(title: str, parts: list[Part], command: str, drawn: Mapping[str, bytes]) -> str:
    """The page; `drawn` holds its figures as PNG by file stem."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("unlogit.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"fields": _fields}
    environment.tests |= {
        "estimate": lambda cell: isinstance(cell, Estimate),
        "of_pictures": lambda shown: any(axes.images for axes in shown.figure.axes),
    }
    return environment.get_template("report.html.jinja").render(
        title=title,
        parts=parts,
        command=command,
        told=told,
        leads=leads,
        picture=lambda part, section, figure: _url(drawn[_stem(part, section, figure)]),
        colours=lambda part: {name: colour(place) for place, name in enumerate(part.evidence.inverters)},
        inverters=lambda part: [_shown(n, i, p) for p, (n, i) in enumerate(part.evidence.inverters.items())],
        arrows={"higher": "↑", "lower": "↓"},
        made=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0"),
        versions=", ".join(f"{package} {metadata.version(package)}" for package in ("unlogit", "torch")),
        seconds=sum(section.seconds for part in parts for section in part.sections),
    )


def leads(table: Table, column: int, cell: Estimate) -> bool:
    """Whether a cell is the best of its column, or its interval overlaps the best's; not where there is no choice."""
    found = [row[column] for row in table.rows if isinstance(row[column], Estimate)]
    better = table.columns[column].better
    if better is None or len(found) < 2:
        return False
    best = (max if better == "higher" else min)(found, key=lambda e: e.value)  # type: ignore[union-attr]
    return cell.overlaps(best)  # type: ignore[arg-type]


def png(figure: Figure) -> bytes:
    """A figure on transparent paper."""
    with io.BytesIO() as buffer:
        figure.figure.savefig(buffer, format="png", facecolor="none")
        return buffer.getvalue()


def _save(figure: Figure, drawn: bytes, stem: Path) -> None:
    """On white paper, for use elsewhere."""
    with Image.open(io.BytesIO(drawn)) as image:
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
    paper.convert("RGB").save(stem.with_name(stem.name + ".png"))
    # Fixed ids and no date, so that the same report is the same files.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "unlogit"}):
        figure.figure.savefig(stem.with_name(stem.name + ".svg"), facecolor="white", metadata={"Date": None})


def _stem(part: Part, section: Section, item: Figure | Table) -> str:
    return f"{part.slug}-{section.analysis}-{item.name}"


def _url(drawn: bytes) -> Markup:
    return Markup("data:image/png;base64," + base64.b64encode(drawn).decode())


def _each(parts: list[Part], kind: str) -> list[tuple[str, Any]]:
    """Figures or tables with their file stems."""
    return [
        (_stem(part, section, item), item)
        for part in parts
        for section in part.sections
        for item in getattr(section, kind)
    ]


def _shown(name: str, inverter: Inverter, place: int) -> ShownInverter:
    representation = inverter.representation
    taps = {"logits": f"{representation.dim:,} logits", "label": "the predicted class alone"}
    seen = ""
    if isinstance(inverter, NearestNeighbour):
        seen = f"looks up {len(inverter.indices):,} pictures"
    elif isinstance(inverter, GeneratorInverter) and "pictures_seen" in inverter.facts:
        seen = f"{inverter.facts['pictures_seen']:,} pictures in {inverter.facts['hours']:.1f} hours"
    return ShownInverter(
        name,
        colour(place),
        taps.get(representation.tap, f"{representation.tap}, {representation.dim:,} values"),
        representation.classifier.spec,
        ", ".join(inverter.aids),
        seen,
    )


def _fields(section: Section) -> str:
    """An analysis' configuration in one line."""
    return ", ".join(f"{f.name}={getattr(section.config, f.name)!r}" for f in dataclasses.fields(section.config))
