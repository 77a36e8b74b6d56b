"""Results of the analyses in the order of the page, and their numbers for the terminal."""

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
from unlogit.runtime.progress import announce


@dataclass(frozen=True)
class Part:
    """One evidence under its name, with its sections.

    Attributes:
        slug: unique name of letters, digits and hyphens, for file names and anchors.
        sections: sections with results.
        silent: analyses that have no results for these inverters or images.
    """

    name: str
    slug: str
    evidence: Evidence
    sections: list[Section]
    silent: list[str]

    @property
    def num_images(self) -> int:
        """Number of images analysed."""
        return self.sections[0].num_images if self.sections else 0


def gather(evidences: Mapping[str, Evidence], configs: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Part]:
    """Run analyses over every evidence, or read their earlier results.

    Args:
        evidences: evidence by the name of its part of the report, e.g. "Scenes".
        configs: by the same names, the analyses to run, each with its configuration; for a part that is not named,
            all with their defaults.
        folder: folder of the results, with a subfolder for each analysis.

    Raises:
        UnlogitError: an unknown analysis, evidence that cannot be read, or a folder in place of a result that unlogit
            did not write.
    """
    every = {name: analyses.get(name).Config() for name in analyses.names()}
    selected = {title: configs.get(title, every) for title in evidences}
    for name in (name for chosen in selected.values() for name in chosen):
        analyses.get(name)  # An unknown one is an error before the first is run.
    slugs: dict[str, str] = {}
    for title in evidences:
        slugs[title] = slug(title, slugs.values())
        for name in selected[title]:
            check_replaceable(folder / f"{slugs[title]}-{name}", OURS, folder=True)
    parts: list[Part] = []
    with tqdm(total=sum(map(len, selected.values())), unit="analysis", disable=None) as bar:
        for title, evidence in evidences.items():
            spot = slugs[title]
            sections = []
            for number, (name, config) in enumerate(selected[title].items(), 1):
                bar.set_description(name)
                if bar.disable:  # Where stderr is no terminal.
                    announce(f"analysis {number} of {len(selected[title])}: {name}")
                sections.append(ask(name, config, evidence, folder / f"{spot}-{name}"))
                bar.update()
            spoke = [s for s in sections if s.figures or s.tables or s.records or s.findings]
            parts.append(Part(title, spot, evidence, spoke, [s.analysis for s in sections if s not in spoke]))
    return parts


def slug(text: str, taken: Collection[str] = ()) -> str:
    """Return text as letters, digits and hyphens, made unique among those taken."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
    return unique_name(plain, taken)


def summary(parts: list[Part]) -> str:
    """Return the records of all parts as plain-text tables for the terminal, without the points of curves."""
    blocks = [
        format_records({s.title: s.records for s in part.sections}, f"{part.name} ({part.num_images:,} images)")
        for part in parts
    ]
    return "\n\n".join(filter(None, blocks))
