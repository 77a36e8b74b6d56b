"""CSV for people: what a spreadsheet would run as a formula is marked as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")
"""First characters that make a spreadsheet compute a cell (OWASP, "CSV injection")."""


def to_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV; a text that a spreadsheet would compute has an apostrophe before it, numbers are as is."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([quote_formula(title) for title in header])
    writer.writerows([quote_formula(cell) for cell in row] for row in rows)
    return text.getvalue()


def quote_formula(cell: object) -> object:
    """Return the cell, a text that begins like a formula with an apostrophe before it."""
    if not isinstance(cell, str):
        return cell
    plain = cell.replace("\r\n", "\n").replace("\r", "\n")  # The writer quotes no lone \r, which would begin a row.
    return f"'{plain}" if plain.startswith(FORMULA) else plain
