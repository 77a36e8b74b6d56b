"""The table of methods, as small as it goes: a row a method, with its intervals, and one figure."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("quick_fits")
def test_every_method_has_a_row_and_the_figure_is_drawn(
    tmp_path: Path, tiny_classifier_spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import scenes_methods

    scenes_methods.main(
        scenes_methods.Methods(
            tmp_path,
            num_images=32,
            num_fit_images=320,
            held_out=24,
            optimised=4,
            steps=2,
            shown=2,
            judge=tiny_classifier_spec,
            learned=("paper",),
            untrained=("engstrom", "nearest"),
        )
    )
    with (tmp_path / "methods.csv").open(newline="") as handle:
        rows = {row["method"]: row for row in csv.DictReader(handle)}
    assert list(rows) == ["paper", "engstrom", "nearest"]
    assert (rows["paper"]["training images"], rows["engstrom"]["training images"]) == ("32", "")
    assert (rows["paper"]["n"], rows["engstrom"]["n"]) == ("24", "4")
    for row in rows.values():
        assert 0 <= float(row["same class for the judge"]) <= 1
        assert float(row["pixel error low"]) <= float(row["pixel error"]) <= float(row["pixel error high"])
        assert float(row["seconds per image"]) > 0
    assert len({row["bits by"] for row in rows.values()}) == 1
    assert rows["nearest"]["diversity"] == "" and float(rows["paper"]["diversity"]) > 0
    assert (tmp_path / "methods.png").read_bytes().startswith(b"\x89PNG")
