"""Results that recipes keep, so that the same command goes on where it stopped, and the tables made of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from unlogit.files import SIGNATURE, marked, replacing, signed, to_json
from unlogit.statistics import Difference, Estimate, correct_family

KEPT = marked(b'{"settings": ')
"""Recognises an earlier file of `keep`, which may be replaced."""


def keep(file: Path, settings: object, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `compute` gives, from `file` where it was computed before by equal settings (their repr)."""
    if file.is_file():
        saved = json.loads(file.read_text())
        if saved.get("settings") == repr(settings):
            values: dict[str, Any] = saved["values"]
            return values
    values = compute()
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file, KEPT) as fresh:
        fresh.write_text(to_json({"settings": repr(settings), "values": values}))
    return values


def paired_rows(tests: Mapping[tuple[str, str], Difference]) -> list[dict[str, object]]:
    """Return a row per test, by contrast and measure; p-values are corrected over all of them (Holm)."""
    return [
        {
            "contrast": contrast,
            "measure": measure,
            "n": d.estimate.n,
            "difference": d.estimate,
            "p (Holm)": f"{d.p:.4f}",
            "verdict": d.verdict,
        }
        for (contrast, measure), d in correct_family(tests).items()
    ]


def write_table(file: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as CSV and print them as a Markdown table; the first row has all columns.

    In the file, the ends of an estimate's interval are columns of their own.
    """
    flat: list[dict[str, object]] = []
    for row in rows:
        cells: dict[str, object] = {}
        for key, value in row.items():
            if isinstance(value, Estimate):
                cells |= {
                    key: f"{value.value:.4f}",
                    f"{key} low": f"{value.low:.4f}",
                    f"{key} high": f"{value.high:.4f}",
                }
            else:
                cells[key] = value
        flat.append(cells)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file, marked(",".join(flat[0]).encode())) as fresh, fresh.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)
    print(f"| {' | '.join(rows[0])} |\n|{' --- |' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(_shown(value) for value in row.values())} |")
    print(file, flush=True)


def save_figure(file: Path, figure: Figure) -> None:
    """Write a figure as PNG on white, in place of an earlier one of this program."""
    figure.set_facecolor("white")
    with replacing(file, signed) as fresh:
        figure.savefig(fresh, format="png", metadata=SIGNATURE)


def _shown(value: object) -> str:
    if isinstance(value, Estimate):
        return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
