"""Results of an analysis, kept in a folder of its own, and computed again only when something changed.

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
from unlogit.analyses import Cell, Column, Evidence, Figure, Record, Table, as_csv
from unlogit.files import holding, replacing, to_json
from unlogit.identity import PACKAGE, code_digest, library_versions
from unlogit.outside import data
from unlogit.statistics import Estimate

FILE = "results.json"
OURS = holding(
    FILE,
    ("key", "analysis", "figures", "tables"),
    lambda results: (
        *(f"{figure['name']}.{form}" for figure in results["figures"] for form in ("png", "svg")),
        *(f"{table['name']}.csv" for table in results["tables"]),
    ),
)
"""Check that recognises the folder of an analysis, which may be replaced."""
AFTER = (
    "bar.py",
    "checkpoint.py",
    "cli.py",
    "explorer",
    "launch.py",
    "progress.py",
    "reconstruct.py",
    "report",
    "study",
)
"""Code that results do not depend on."""


@dataclass(frozen=True)
class ReportImage:
    """A figure that was drawn and saved.

    Attributes:
        charted: whether it is a plot, and not a sheet of images.
        png: file with a transparent background; an SVG of the same name is beside it.
    """

    name: str
    title: str
    caption: str
    charted: bool
    png: Path


@dataclass(frozen=True)
class Section:
    """Results of one analysis of one evidence.

    Attributes:
        config: configuration in one line.
        num_images: number of images in the evidence.
        reused: whether the results are from an earlier run.
    """

    analysis: str
    title: str
    question: str
    config: str
    seconds: float
    num_images: int
    reused: bool = False
    figures: list[ReportImage] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def ask(name: str, config: Any, evidence: Evidence, folder: Path) -> Section:
    """Run an analysis and keep its results in `folder`, or return those that are up to date."""
    key = hashlib.sha256(data("\n".join([name, repr(config), evidence.fingerprint(), code_version()]))).hexdigest()
    section = _read(folder, key)
    return section if section is not None else _run(name, config, evidence, folder, key)


@cache
def code_version() -> str:
    """Return a digest of the code that results depend on, and the versions of the libraries that draw and compute."""
    parts = [path.name for path in PACKAGE.iterdir() if path.name not in AFTER and (path / "__init__.py").is_file()]
    parts += [path.name for path in PACKAGE.glob("*.py") if path.name not in AFTER]
    own = code_digest(*parts, Path(__file__).relative_to(PACKAGE).as_posix())
    return hashlib.sha256(f"{library_versions()} {own}".encode()).hexdigest()


def _run(name: str, config: Any, evidence: Evidence, folder: Path, key: str) -> Section:
    started = time.monotonic()
    result = analyses.run_analysis(name, config, evidence)
    seconds = time.monotonic() - started
    options = ", ".join(f"{f.name}={getattr(config, f.name)!r}" for f in dataclasses.fields(config))
    figures = [ReportImage(f.name, f.title, f.caption, f.charted, folder / f"{f.name}.png") for f in result.figures]
    section = Section(
        name,
        result.title,
        result.question,
        options,
        seconds,
        len(evidence),
        False,
        figures,
        result.tables,
        result.records,
        result.findings,
    )
    with replacing(folder, OURS, folder=True) as fresh:
        for figure in result.figures:
            save(figure, fresh / figure.name)
        for table in result.tables:
            (fresh / f"{table.name}.csv").write_text(as_csv(table), encoding="utf-8", errors="backslashreplace")
        record = {"key": key} | dataclasses.asdict(section) | {"figures": [_plain(p) for p in section.figures]}
        (fresh / FILE).write_text(to_json(record, indent=1) + "\n", encoding="utf-8")
    return section


def save(figure: Figure, stem: Path) -> None:
    """Save a figure as PNG and SVG with a transparent background, on which the ink is legible on white and black."""
    # Fixed ids and no date, so that equal reports are equal files.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "unlogit"}):
        for form, facts in (("png", {}), ("svg", {"Date": None})):
            figure.figure.savefig(stem.with_name(f"{stem.name}.{form}"), facecolor="none", metadata=facts)
            figure.figure.set_layout_engine("none")  # Laid out once, which takes longer than drawing.


def _plain(image: ReportImage) -> dict[str, Any]:
    return dataclasses.asdict(image) | {"png": image.png.name}


def _read(folder: Path, key: str) -> Section | None:
    """Return the results with that key; None for a missing or damaged folder, or one with another key."""
    try:
        record = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if record.pop("key") != key:
            return None
        figures = [ReportImage(**p | {"png": folder / p["png"]}) for p in record["figures"]]
        tables = [_table(t) for t in record["tables"]]
        records = [Record(**n | {"estimate": Estimate(**n["estimate"])}) for n in record["records"]]
        contents = {"figures": figures, "tables": tables, "records": records, "reused": True}
        section = Section(**record | contents)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError):
        return None
    return section if all(p.png.is_file() for p in section.figures) else None


def _table(record: dict[str, Any]) -> Table:
    def cell(value: Any) -> Cell:
        return Estimate(**value) if isinstance(value, dict) else value

    columns = tuple(Column(**column) for column in record["columns"])
    rows = tuple(tuple(cell(value) for value in row) for row in record["rows"])
    return Table(record["name"], record["title"], record["caption"], columns, rows)
