"""Records and tables as text: for the terminal, for CSV, and for a page's cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from unlogit.analyses._base import Record, Table
from unlogit.spreadsheet import to_csv
from unlogit.statistics import Estimate

ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


def format_estimate(estimate: Estimate) -> tuple[str, str]:
    """Return value and interval as text, to two digits of the interval's width."""
    width = estimate.high - estimate.low
    indices = 3 if width < 1e-6 else min(6, max(0, 1 - math.floor(math.log10(width))))
    value, low, high = (f"{v:.{indices}f}".replace("-", "−") for v in (estimate.value, estimate.low, estimate.high))
    return value, f"{low} to {high}" if estimate.low < 0 else f"{low}–{high}"


def format_records(groups: Mapping[str, Sequence[Record]], heading: str = "") -> str:
    """Return records as a plain-text table, a metric per row and an inverter per column; points of curves are left out.

    Args:
        groups: by the title over their rows.
        heading: text in the corner.
    """
    shown = {title: [r for r in records if r.at is None] for title, records in groups.items()}
    shown = {title: records for title, records in shown.items() if records}
    if not shown:
        return ""
    inverters = list(dict.fromkeys(record.inverter for records in shown.values() for record in records))
    grid = [[heading, *inverters]]
    for title, records in shown.items():
        cells = {(r.metric, r.inverter): "{} ({})".format(*format_estimate(r.estimate)) for r in records}
        metrics = {r.metric: r.metric.replace("_", " ") + ARROWS[r.better] for r in records}
        grid.append([f"─ {title}", *("" for _ in inverters)])
        grid += [[words, *(cells.get((name, i), "–") for i in inverters)] for name, words in metrics.items()]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in grid)


def as_csv(table: Table) -> str:
    """Return a table as CSV; an estimate fills four columns: value, low, high, n."""
    # A column is of estimates where any of its cells is one.
    wide = [any(isinstance(row[i], Estimate) for row in table.rows) for i in range(len(table.columns))]
    heads = [
        [c.title, f"{c.title} low", f"{c.title} high", f"{c.title} n"] if w else [c.title]
        for c, w in zip(table.columns, wide, strict=True)
    ]
    rows = []
    for row in table.rows:
        out: list[object] = []
        for cell, w in zip(row, wide, strict=True):
            if isinstance(cell, Estimate):
                out += [cell.value, cell.low, cell.high, cell.n]
            else:
                out += ["" if cell is None else cell, *([""] * 3 if w else [])]
        rows.append(out)
    return to_csv([head for group in heads for head in group], rows)
