"""Results of analyses in one object: as a data frame, as text, and as HTML in a notebook."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from unlogit.analyses._base import Figure, Finding, Record, Table, get, names
from unlogit.analyses._evidence import Evidence
from unlogit.analyses._format import format_estimate, format_records
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource
from unlogit.methods import Inverter
from unlogit.statistics import Estimate

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class AnalysisResult:
    """Results of one analysis, by type."""

    analysis: str
    title: str
    question: str
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def run_analysis(name: str, config: Any, evidence: Evidence) -> AnalysisResult:
    """Run one analysis and collect its results by type."""
    analysis = get(name)
    result = AnalysisResult(name, analysis.TITLE, analysis.QUESTION)
    for each in analysis.run(config, evidence):
        match each:
            case Figure():
                result.figures.append(each)
            case Table():
                result.tables.append(each)
            case Record():
                result.records.append(each)
            case Finding(text):
                result.findings.append(text)
    return result


class Results(Sequence[AnalysisResult]):
    """The results of analyses: records, tables, figures and sentences.

    In a notebook it shows itself as HTML; `show` prints it; `to_dataframe` returns the records in long format.
    """

    def __init__(self, results: Iterable[AnalysisResult]) -> None:
        self._results = tuple(results)

    def __len__(self) -> int:
        return len(self._results)

    def __getitem__(self, index: Any) -> Any:
        return self._results[index]

    @property
    def records(self) -> list[dict[str, Any]]:
        """All records in long format: analysis, inverter, metric, at, value, low, high, n, unit, better."""
        return [record.to_row(result.analysis) for result in self for record in result.records]

    def to_dataframe(self) -> pandas.DataFrame:
        """Return all records in long format.

        Raises:
            UnlogitError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise UnlogitError("to_dataframe() needs pandas: pip install pandas, or use .records") from error
        columns = ["analysis", "inverter", "metric", "at", "value", "low", "high", "n", "unit", "better"]
        return pandas.DataFrame(self.records, columns=columns)

    def show(self) -> None:
        """Print the metrics, an inverter per column, and the sentences of each analysis."""
        print(self)

    def __str__(self) -> str:
        parts = [format_records({result.title: result.records for result in self})]
        parts += [f"{result.title}\n" + "\n".join(result.findings) for result in self if result.findings]
        return "\n\n".join(filter(None, parts))

    def __repr__(self) -> str:
        count = sum(len(result.records) for result in self)
        return f"Results of {', '.join(result.analysis for result in self) or 'no analysis'} ({count:,} records)"

    def _repr_html_(self) -> str:
        return "\n".join(map(_section, self))


def analyse(
    inverters: Mapping[str, Inverter] | Sequence[Inverter] | Inverter,
    images: ImageSource,
    only: Sequence[str] = (),
    *,
    limit: int | None = 1_000,
    configs: Mapping[str, Any] | None = None,
    **evidence: Any,
) -> Results:
    """Run analyses of inverters on held-out images.

    Args:
        inverters: one inverter, several, or a mapping by the name shown.
        images: images that no inverter was trained on.
        only: names of analyses; all of them by default.
        limit: number of images, spread at random over the source; None takes all.
        configs: configurations by name of the analysis, where they are not the default.
        evidence: further arguments of `Evidence`, such as `features` and `seed`.

    Raises:
        UnlogitError: an unknown analysis, two inverters of one name or of different sizes, or unreadable images.
    """
    if isinstance(inverters, Inverter):
        inverters = [inverters]
    if not isinstance(inverters, Mapping):
        named = {inverter.name: inverter for inverter in inverters}
        if len(named) < len(inverters):
            raise UnlogitError("inverters: two have the same name; give a dict of names and inverters")
        inverters = named
    chosen = {name.replace("_", "-"): get(name).Config() for name in ([only] if isinstance(only, str) else only)}
    chosen = chosen or {name: get(name).Config() for name in names()}
    for name, config in (configs or {}).items():
        get(name)
        if (key := name.replace("_", "-")) not in chosen:
            raise UnlogitError(f"configs: '{name}' is not among the analyses that run: {', '.join(chosen)}")
        chosen[key] = config
    read = Evidence(images, inverters, limit=limit, **evidence)
    return Results(run_analysis(name, config, read) for name, config in chosen.items())


def _section(result: AnalysisResult) -> str:
    figures = "".join(
        f'<figure><img style="max-width:100%" src="data:image/png;base64,{_png(f)}" alt="{escape(f.title)}">'
        f"<figcaption><b>{escape(f.title)}.</b> {escape(f.caption)}</figcaption></figure>"
        for f in result.figures
    )
    findings = "".join(f"<p>{escape(text)}</p>" for text in result.findings)
    tables = "".join(map(_table, result.tables))
    return f"<h3>{escape(result.title)}</h3><p><i>{escape(result.question)}</i></p>{figures}{findings}{tables}"


def _table(table: Table) -> str:
    def cell(value: object) -> str:
        if isinstance(value, Estimate):
            return "{}<br><small>{}</small>".format(*format_estimate(value))
        return "–" if value is None else escape(str(value))

    head = "".join(f"<th>{escape(column.title)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{cell(value)}</td>' for value in row)}</tr>" for row in table.rows)
    caption = f"<b>{escape(table.title)}.</b> {escape(table.caption)}"
    return f"<p>{caption}</p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _png(figure: Figure) -> str:
    with io.BytesIO() as buffer:
        figure.figure.savefig(buffer, format="png", facecolor="none")
        return base64.b64encode(buffer.getvalue()).decode()
