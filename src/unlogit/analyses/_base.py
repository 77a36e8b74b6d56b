"""What analyses yield, and the registry of them: the folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import matplotlib.figure

from unlogit import registry
from unlogit.analyses._evidence import Evidence
from unlogit.settings import Checked
from unlogit.statistics import Estimate

Better = Literal["higher", "lower"] | None
Cell = Estimate | str | int | float | None


class AnalysisConfig(Checked):
    """Base of the analyses' configurations, whose options begin with the name of the analysis."""

    @classmethod
    def prefix(cls) -> str:
        return f"{cls.__module__.rpartition('.')[2].replace('_', '-')}."


@dataclass(frozen=True)
class Figure:
    """A picture to look at.

    Attributes:
        name: file stem, unique in its analysis.
        title, caption: plain text.
        figure: its background may be transparent, so its ink must be readable on white and on black.
    """

    name: str
    title: str
    caption: str
    figure: matplotlib.figure.Figure


@dataclass(frozen=True)
class Column:
    """A table's column: its heading, which direction is better, and a word of explanation for the reader."""

    title: str
    better: Better = None
    explanation: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells; None is a value that could not be had, such as the diversity of a method without noise.

    Attributes:
        name: file stem, unique in its analysis.
        title, caption: plain text.
    """

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.name


@dataclass(frozen=True)
class Number:
    """One figure of merit of one inverter.

    Attributes:
        at: where on a curve it stands, if it does: such numbers are written to files, and not to the terminal.
    """

    name: str
    inverter: str
    estimate: Estimate
    unit: str
    better: Better
    at: float | None = None


@dataclass(frozen=True)
class Finding:
    """One sentence of what was found, put together from the numbers."""

    text: str


Result = Figure | Table | Number | Finding


class Analysis(Protocol):
    """What a module of this folder holds.

    Attributes:
        TITLE: heading of its section.
        PLACE: where in a report its section stands: lower ones come first.
        QUESTION: one sentence saying what is asked.
        Config: a frozen dataclass whose fields all have defaults.
    """

    TITLE: str
    PLACE: int
    QUESTION: str
    Config: type[Any]

    def run(self, config: Any, evidence: Evidence) -> Iterator[Result]: ...


def names() -> list[str]:
    """The registered analyses with hyphens, as users write them, in the order of a report."""
    return sorted(
        (name.replace("_", "-") for name in registry.names("unlogit.analyses")), key=lambda name: get(name).PLACE
    )


def get(name: str) -> Analysis:
    """The analysis of that name, hyphens or underscores; raises `UnlogitError` that lists the known ones."""
    return cast(Analysis, registry.module("unlogit.analyses", name.replace("-", "_"), "analysis"))
