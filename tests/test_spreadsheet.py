"""CSV that a spreadsheet opens without running anything."""

from __future__ import annotations

import csv
import io

import pytest

from unlogit.analyses import Column, Table, as_csv
from unlogit.spreadsheet import to_csv


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])
def test_formulas_are_texts(first: str) -> None:
    cell = f"{first}HYPERLINK(1)"
    rows = list(csv.reader(io.StringIO(to_csv([cell], [[cell]]), newline="")))
    quoted = "'" + cell.replace("\r", "\n")
    assert rows == [[quoted], [quoted]]


def test_a_line_end_in_a_cell_begins_no_row() -> None:
    assert list(csv.reader(io.StringIO(to_csv(["a"], [["x\r=1"], ["y\r\n=1"]]), newline=""))) == [
        *(["a"], ["x\n=1"], ["y\n=1"])
    ]


def test_numbers_and_plain_texts_stay() -> None:
    assert to_csv(["a-b", "n"], [["x=1", -0.5], ["", -3], [None, 1e-9]]) == "a-b,n\nx=1,-0.5\n,-3\n,1e-09\n"


def test_tables_of_a_report_are_quoted() -> None:
    table = Table("t", "Title", "caption", (Column("@title"), Column("n")), (("=1+1", -0.5),))
    assert as_csv(table) == "'@title,n\n'=1+1,-0.5\n"
