"""The results object shows the same records as a data frame, as text and as HTML."""

from __future__ import annotations

import sys

import pytest

from unlogit import analyses
from unlogit.analyses import AnalysisResult, Column, Record, Results, Table
from unlogit.errors import UnlogitError
from unlogit.statistics import Estimate

E = Estimate(0.5, 0.4, 0.6, 9)
RESULTS = Results(
    [
        AnalysisResult(
            "noise",
            "Noise",
            "How much?",
            tables=[Table("t", "<b>", "c", (Column("inverter"), Column("m")), (("a", E),))],
            records=[Record("m", "a", E, "share", "higher"), Record("m", "a", E, "", None, at=0.5)],
            findings=["a is 0.5."],
        )
    ]
)


def test_records_are_long_format_and_html_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [row["at"] for row in RESULTS.records] == [None, 0.5]
    assert "0.50 (0.40–0.60)" in str(RESULTS) and "a is 0.5." in str(RESULTS)
    assert "&lt;b&gt;" in RESULTS._repr_html_()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UnlogitError, match="needs pandas"):
        RESULTS.to_dataframe()


def test_every_analysis_has_a_position_in_the_report() -> None:
    assert set(analyses.names()) == set(analyses._base.ORDER)
