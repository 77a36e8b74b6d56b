"""The analyses' results in the order of the page, and the same numbers for the terminal."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from unlogit import analyses
from unlogit.analyses import Evidence, Figure, Finding, Number, Table
from unlogit.intervals import Estimate


@dataclass(frozen=True)
class Section:
    """What one analysis found in one evidence."""

    analysis: str
    title: str
    question: str
    config: Any
    seconds: float
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """One evidence under its name, with its sections; those that had nothing to say are left out.

    Attributes:
        slug: the name as letters, digits and hyphens, unlike any other part's: for file names and anchors.
    """

    name: str
    slug: str
    evidence: Evidence
    sections: list[Section]


def gather(evidences: Mapping[str, Evidence], configs: Mapping[str, Any] | None = None) -> list[Part]:
    """Run analyses over every evidence.

    Args:
        evidences: by the name of its part of the report, e.g. "Scenes".
        configs: the analyses that are run, each with its configuration; None runs all with their defaults.

    Raises:
        UnlogitError: an unknown analysis, or evidence that cannot be read.
    """
    if configs is None:
        configs = {name: analyses.get(name).Config() for name in analyses.names()}
    parts: list[Part] = []
    for title, evidence in evidences.items():
        sections = [_section(name, config, evidence) for name, config in configs.items()]
        taken = [part.slug for part in parts]
        parts.append(
            Part(title, slug(title, taken), evidence, [s for s in sections if s.figures or s.tables or s.numbers])
        )
    return parts


def slug(text: str, taken: Collection[str] = ()) -> str:
    """Letters, digits and hyphens, unlike those taken."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
    return next(s for n in count(1) if (s := plain if n == 1 else f"{plain}-{n}") not in taken)


def _section(name: str, config: Any, evidence: Evidence) -> Section:
    analysis = analyses.get(name)
    started = time.monotonic()
    results = list(analysis.run(config, evidence))
    section = Section(name, analysis.TITLE, analysis.QUESTION, config, time.monotonic() - started)
    for result in results:
        match result:
            case Figure():
                section.figures.append(result)
            case Table():
                section.tables.append(result)
            case Number():
                section.numbers.append(result)
            case Finding(text):
                section.findings.append(text)
    return section


def told(estimate: Estimate) -> tuple[str, str]:
    """Value and interval as text, to two digits of the interval's width: more would say nothing."""
    width = estimate.high - estimate.low
    places = 3 if width <= 0 else min(6, max(0, 1 - math.floor(math.log10(width))))
    value, low, high = (f"{v:.{places}f}".replace("-", "−") for v in (estimate.value, estimate.low, estimate.high))
    return value, f"{low} to {high}" if estimate.low < 0 else f"{low}–{high}"


def summary(parts: list[Part]) -> str:
    """The numbers as a plain-text table for the terminal: a row a figure of merit, a column an inverter."""
    blocks = []
    for part in parts:
        numbers = [number for section in part.sections for number in section.numbers]
        if not numbers:
            continue
        inverters = list(dict.fromkeys(number.inverter for number in numbers))
        cells = {(n.name, n.inverter): "{} ({})".format(*told(n.estimate)) for n in numbers}
        arrows = {"higher": "↑", "lower": "↓", None: " "}
        merits = {n.name: f"{n.name.replace('_', ' ')} {arrows[n.better]}" for n in numbers}
        grid = [[f"{part.name} ({len(part.evidence):,} pictures)", *inverters]]
        grid += [[title, *(cells.get((name, i), "–") for i in inverters)] for name, title in merits.items()]
        widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in grid]
        blocks.append("\n".join([lines[0], "─" * len(max(lines, key=len)), *lines[1:]]))
    return "\n\n".join(blocks)
