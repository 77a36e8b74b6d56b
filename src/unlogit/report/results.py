"""What an analysis found, kept in a folder of its own, and asked again only when something changed.

A folder holds the figures as PNG and SVG, the tables as CSV, and `results.json`, from which the page is made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl

from unlogit import analyses
from unlogit.analyses import Cell, Column, Evidence, Figure, Finding, Number, Table
from unlogit.files import holding, replacing, to_json
from unlogit.identity import PACKAGE, code_digest, library_versions
from unlogit.outside import data
from unlogit.spreadsheet import to_csv
from unlogit.statistics import Estimate

FILE = "results.json"
OURS = holding(
    FILE,
    ("key", "analysis", "figures", "tables"),
    lambda found: (
        *(f"{figure['name']}.{form}" for figure in found["figures"] for form in ("png", "svg")),
        *(f"{table['name']}.csv" for table in found["tables"]),
    ),
)
"""Recognises the folder of an analysis, which may be replaced."""
AFTER = ("checkpoint.py", "cli.py", "explorer", "launch.py", "progress.py", "reconstruct.py", "report", "study")
"""Code that no result depends on."""


@dataclass(frozen=True)
class Picture:
    """A figure as it was drawn.

    Attributes:
        charted: whether it is a chart, and not a sheet of pictures.
        png: the file, on transparent paper; an SVG of the same name lies beside it.
    """

    name: str
    title: str
    caption: str
    charted: bool
    png: Path


@dataclass(frozen=True)
class Section:
    """What one analysis found in one evidence.

    Attributes:
        config: its configuration in one line.
        pictures: how many the evidence holds.
        reused: whether it was found before.
    """

    analysis: str
    title: str
    question: str
    config: str
    seconds: float
    pictures: int
    reused: bool = False
    figures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def ask(name: str, config: Any, evidence: Evidence, folder: Path) -> Section:
    """What an analysis finds, kept in `folder`; what lies there is returned if nothing that it depends on changed."""
    key = hashlib.sha256(data("\n".join([name, repr(config), evidence.fingerprint(), code_version()]))).hexdigest()
    kept = _read(folder, key)
    return kept if kept is not None else _run(name, config, evidence, folder, key)


@cache
def code_version() -> str:
    """Return a digest of the code that results depend on, and the versions of the libraries that draw and compute."""
    parts = [path.name for path in PACKAGE.iterdir() if path.name not in AFTER and (path / "__init__.py").is_file()]
    parts += [path.name for path in PACKAGE.glob("*.py") if path.name not in AFTER]
    own = code_digest(*parts, Path(__file__).relative_to(PACKAGE).as_posix())
    return hashlib.sha256(f"{library_versions()} {own}".encode()).hexdigest()


def _run(name: str, config: Any, evidence: Evidence, folder: Path, key: str) -> Section:
    analysis = analyses.get(name)
    started = time.monotonic()
    found = list(analysis.run(config, evidence))
    seconds = time.monotonic() - started
    told = ", ".join(f"{f.name}={getattr(config, f.name)!r}" for f in dataclasses.fields(config))
    section = Section(name, analysis.TITLE, analysis.QUESTION, told, seconds, len(evidence))
    with replacing(folder, OURS, folder=True) as fresh:
        for result in found:
            match result:
                case Figure():
                    charted = not any(axes.images for axes in result.figure.axes)
                    section.figures.append(
                        Picture(result.name, result.title, result.caption, charted, folder / f"{result.name}.png")
                    )
                    save(result, fresh / result.name)
                case Table():
                    section.tables.append(result)
                    (fresh / f"{result.name}.csv").write_text(
                        as_csv(result), encoding="utf-8", errors="backslashreplace"
                    )
                case Number():
                    section.numbers.append(result)
                case Finding(text):
                    section.findings.append(text)
        record = {"key": key} | dataclasses.asdict(section) | {"figures": [_plain(p) for p in section.figures]}
        (fresh / FILE).write_text(to_json(record, indent=1) + "\n", encoding="utf-8")
    return section


def save(figure: Figure, stem: Path) -> None:
    """As PNG and SVG on transparent paper: the house's ink can be read on white and on black."""
    # Fixed ids and no date, so that the same report is the same files.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "unlogit"}):
        for form, facts in (("png", {}), ("svg", {"Date": None})):
            figure.figure.savefig(stem.with_name(f"{stem.name}.{form}"), facecolor="none", metadata=facts)
            figure.figure.set_layout_engine("none")  # Laid out once, which takes longer than drawing.


def as_csv(table: Table) -> str:
    """A table as CSV; an estimate fills four columns: value, low, high, n."""
    # A column is of estimates where any of its cells is one.
    wide = [any(isinstance(row[i], Estimate) for row in table.rows) for i in range(len(table.columns))]
    heads = [
        [c.title, f"{c.title} low", f"{c.title} high", f"{c.title} n"] if w else [c.title]
        for c, w in zip(table.columns, wide, strict=True)
    ]
    rows = []
    for row in table.rows:
        out: list[object] = []
        for cell, w in zip(row, wide, strict=True):
            if isinstance(cell, Estimate):
                out += [cell.value, cell.low, cell.high, cell.n]
            else:
                out += ["" if cell is None else cell, *([""] * 3 if w else [])]
        rows.append(out)
    return to_csv([head for group in heads for head in group], rows)


def _plain(picture: Picture) -> dict[str, Any]:
    return dataclasses.asdict(picture) | {"png": picture.png.name}


def _read(folder: Path, key: str) -> Section | None:
    """What was found with that key, or None: nothing yet, something else, or a folder that somebody has damaged."""
    try:
        record = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if record.pop("key") != key:
            return None
        figures = [Picture(**p | {"png": folder / p["png"]}) for p in record["figures"]]
        tables = [_table(t) for t in record["tables"]]
        numbers = [Number(**n | {"estimate": Estimate(**n["estimate"])}) for n in record["numbers"]]
        found = {"figures": figures, "tables": tables, "numbers": numbers, "reused": True}
        section = Section(**record | found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError):
        return None
    return section if all(p.png.is_file() for p in section.figures) else None


def _table(record: dict[str, Any]) -> Table:
    def cell(value: Any) -> Cell:
        return Estimate(**value) if isinstance(value, dict) else value

    columns = tuple(Column(**column) for column in record["columns"])
    rows = tuple(tuple(cell(value) for value in row) for row in record["rows"])
    return Table(record["name"], record["title"], record["caption"], columns, rows)
