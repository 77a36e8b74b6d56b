"""Types of results, and the registry of analyses, which is the folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from unlogit import registry
from unlogit.settings import Checked
from unlogit.statistics import Estimate

if TYPE_CHECKING:
    import matplotlib.figure

    from unlogit.analyses._evidence import Evidence

Better = Literal["higher", "lower"] | None
Cell = Estimate | str | int | float | None


class AnalysisConfig(Checked):
    """Base of the analyses' configurations, whose options begin with the name of the analysis."""

    @classmethod
    def prefix(cls) -> str:
        return f"{cls.__module__.rpartition('.')[2].replace('_', '-')}."


@dataclass(frozen=True)
class Figure:
    """A plot or a sheet of images.

    Attributes:
        name: file stem, unique in its analysis.
        title, caption: plain text.
        figure: its background may be transparent, so its ink must be readable on white and on black.
    """

    name: str
    title: str
    caption: str
    figure: matplotlib.figure.Figure

    @property
    def charted(self) -> bool:
        """Whether it is a plot, and not a sheet of images."""
        return not any(axes.images for axes in self.figure.axes)


@dataclass(frozen=True)
class Column:
    """A table's column.

    Attributes:
        title: heading.
        better: which direction is better, if one is.
        explanation: a phrase for the reader.
        chance: the value of a reconstruction that keeps nothing, if it is known.
    """

    title: str
    better: Better = None
    explanation: str = ""
    chance: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows of cells; None is a value that does not exist, such as the diversity of a method without noise.

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
class Record:
    """One number that an analysis measures of one inverter.

    Attributes:
        metric: the metric's name, unique in its analysis together with `inverter` and `at`.
        unit: "share", "bits", "dB" and so on; empty for a number without a unit.
        better: which direction is better, if one is.
        at: the position on a curve, if the record is a point of one.
    """

    metric: str
    inverter: str
    estimate: Estimate
    unit: str
    better: Better
    at: float | None = None

    @property
    def label(self) -> str:
        """The metric, with the position on its curve as METRIC@POSITION."""
        return self.metric if self.at is None else f"{self.metric}@{self.at:g}"

    def to_row(self, analysis: str) -> dict[str, str | float | int | None]:
        """Return the record in long format, a value per column."""
        return {
            "analysis": analysis,
            "inverter": self.inverter,
            "metric": self.metric,
            "at": self.at,
            **asdict(self.estimate),
            "unit": self.unit,
            "better": self.better,
        }


@dataclass(frozen=True)
class Finding:
    """One sentence that states a result, made from the numbers."""

    text: str


Result = Figure | Table | Record | Finding


class Analysis(Protocol):
    """Interface of an analysis: a module of this folder.

    Attributes:
        TITLE: heading of its section.
        QUESTION: one sentence that states the question.
        Config: a frozen dataclass whose fields all have defaults.
    """

    TITLE: str
    QUESTION: str
    Config: type[Any]

    def run(self, config: Any, evidence: Evidence) -> Iterator[Result]: ...


ORDER = (
    "reconstruct",
    "quality",
    "recognition",
    "spectrum",
    "compare",
    "probe",
    "identify",
    "factors",
    "noise",
    "noise-path",
    "shift",
    "scale",
    "perturb",
    "interpolate",
    "mistakes",
    "spread",
    "brightness",
    "adversarial",
    "fixed-point",
    "out-of-distribution",
    "training",
)
"""The order of a report. An analysis that is not named here follows at the end."""


def names() -> list[str]:
    """Return the registered analyses with hyphens, as users write them, in the order of a report."""
    registered = [name.replace("_", "-") for name in registry.names("unlogit.analyses")]
    return [name for name in ORDER if name in registered] + [name for name in registered if name not in ORDER]


def get(name: str) -> Analysis:
    """Return the analysis of that name, with hyphens or underscores; raise `UnlogitError` for an unknown one."""
    return cast(Analysis, registry.module("unlogit.analyses", name.replace("-", "_"), "analysis"))
