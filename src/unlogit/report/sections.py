"""The analyses' results in the order of the page, and the same numbers for the terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from unlogit import analyses
from unlogit.analyses import Evidence
from unlogit.files import check_replaceable, unique_name
from unlogit.report.results import OURS, Section, ask
from unlogit.statistics import Estimate


@dataclass(frozen=True)
class Part:
    """One evidence under its name, with its sections.

    Attributes:
        slug: the name as letters, digits and hyphens, unlike any other part's: for file names and anchors.
        sections: those that had something to say.
        silent: the analyses that had nothing to say of these inverters or pictures.
    """

    name: str
    slug: str
    evidence: Evidence
    sections: list[Section]
    silent: list[str]

    @property
    def pictures(self) -> int:
        """How many were looked at."""
        return self.sections[0].pictures if self.sections else 0


def gather(evidences: Mapping[str, Evidence], configs: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Part]:
    """Run analyses over every evidence, or read what they found before.

    Args:
        evidences: by the name of its part of the report, e.g. "Scenes".
        configs: by the same names, the analyses that are run, each with its configuration; of a part that is not
            named, all with their defaults.
        folder: for what they find, a folder for each.

    Raises:
        UnlogitError: an unknown analysis, evidence that cannot be read, or somebody else's folder in the place of one.
    """
    every = {name: analyses.get(name).Config() for name in analyses.names()}
    asked = {title: configs.get(title, every) for title in evidences}
    for name in (name for chosen in asked.values() for name in chosen):
        analyses.get(name)  # An unknown one is told before the first is run.
    spots: dict[str, str] = {}
    for title in evidences:
        spots[title] = slug(title, spots.values())
        for name in asked[title]:
            check_replaceable(folder / f"{spots[title]}-{name}", OURS, folder=True)
    parts: list[Part] = []
    with tqdm(total=sum(map(len, asked.values())), unit="analysis", disable=None) as bar:
        for title, evidence in evidences.items():
            spot = spots[title]
            sections = []
            for name, config in asked[title].items():
                bar.set_description(name)
                sections.append(ask(name, config, evidence, folder / f"{spot}-{name}"))
                bar.update()
            spoke = [s for s in sections if s.figures or s.tables or s.numbers or s.findings]
            parts.append(Part(title, spot, evidence, spoke, [s.analysis for s in sections if s not in spoke]))
    return parts


def slug(text: str, taken: Collection[str] = ()) -> str:
    """Letters, digits and hyphens, unlike those taken."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
    return unique_name(plain, taken)


def told(estimate: Estimate) -> tuple[str, str]:
    """Value and interval as text, to two digits of the interval's width: more would say nothing."""
    width = estimate.high - estimate.low
    places = 3 if width < 1e-6 else min(6, max(0, 1 - math.floor(math.log10(width))))
    value, low, high = (f"{v:.{places}f}".replace("-", "−") for v in (estimate.value, estimate.low, estimate.high))
    return value, f"{low} to {high}" if estimate.low < 0 else f"{low}–{high}"


def summary(parts: list[Part]) -> str:
    """The numbers as a plain-text table for the terminal: a row a figure of merit, a column an inverter.

    Points of curves are left to the files.
    """
    arrows = {"higher": " ↑", "lower": " ↓", None: ""}
    blocks = []
    for part in parts:
        told_of = {
            s.title: numbers
            for s in part.sections
            if (numbers := [number for number in s.numbers if number.at is None])
        }
        inverters = list(dict.fromkeys(number.inverter for numbers in told_of.values() for number in numbers))
        grid = [[f"{part.name} ({part.pictures:,} pictures)", *inverters]]
        for title, numbers in told_of.items():
            cells = {(n.name, n.inverter): "{} ({})".format(*told(n.estimate)) for n in numbers}
            merits = {n.name: n.name.replace("_", " ") + arrows[n.better] for n in numbers}
            grid.append([f"─ {title}", *("" for _ in inverters)])
            grid += [[words, *(cells.get((name, i), "–") for i in inverters)] for name, words in merits.items()]
        widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in grid]
        if told_of:
            blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
