"""The table of ablations, as small as it goes: a row a change and a seed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from unlogit.methods.biggan.projected import ProjectedDiscriminator

ROOT = Path(__file__).parents[2]


def test_every_change_is_one_that_can_be_trained(
    tmp_path: Path, tiny_classifier_spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    from demo import Demo
    from scenes_ablations import changed
    from scenes_methods import of

    found = changed(of(Demo(out=tmp_path), tiny_classifier_spec))
    assert len({repr(config) for config in found.values()}) == len(found)
    for judge in {config.method.discriminator for config in found.values()}:
        if judge.kind == "projected":
            ProjectedDiscriminator(10, 32, judge)


def test_a_row_a_change_and_a_seed(tmp_path: Path, tiny_classifier_spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import scenes_ablations

    scenes_ablations.main(
        scenes_ablations.Ablations(
            tiny_classifier_spec,
            out=tmp_path,
            num_images=32,
            held_out=24,
            seeds=(0, 3),
            rows=("batch 32", "the paper's way"),
        )
    )
    with (tmp_path / "ablations.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["what"], row["seed"]) for row in rows] == [
        (what, seed) for what in ("batch 32", "the paper's way") for seed in ("0", "3")
    ]
    assert {row["n"] for row in rows} == {"24"}
    assert len({row["pixel_error"] for row in rows}) == 4
    assert all(0 <= float(row["agreement"]) <= 1 for row in rows)
