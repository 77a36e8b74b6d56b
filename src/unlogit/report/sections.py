"""The analyses' results in the order of the page, and the same numbers for the terminal."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from unlogit import analyses
from unlogit.analyses import Evidence, format_records
from unlogit.files import check_replaceable, unique_name
from unlogit.report.results import OURS, Section, ask


@dataclass(frozen=True)
class Part:
    """One evidence under its name, with its sections.

    Attributes:
        slug: the name as letters, digits and hyphens, unlike any other part's: for file names and anchors.
        sections: those that had something to say.
        silent: the analyses that had nothing to say of these inverters or images.
    """

    name: str
    slug: str
    evidence: Evidence
    sections: list[Section]
    silent: list[str]

    @property
    def num_images(self) -> int:
        """How many were looked at."""
        return self.sections[0].num_images if self.sections else 0


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
        analyses.get(name)  # An unknown one is an error before the first is run.
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
            spoke = [s for s in sections if s.figures or s.tables or s.records or s.findings]
            parts.append(Part(title, spot, evidence, spoke, [s.analysis for s in sections if s not in spoke]))
    return parts


def slug(text: str, taken: Collection[str] = ()) -> str:
    """Letters, digits and hyphens, unlike those taken."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
    return unique_name(plain, taken)


def summary(parts: list[Part]) -> str:
    """Return the records of all parts as plain-text tables for the terminal, without the points of curves."""
    blocks = [
        format_records({s.title: s.records for s in part.sections}, f"{part.name} ({part.num_images:,} images)")
        for part in parts
    ]
    return "\n\n".join(filter(None, blocks))
