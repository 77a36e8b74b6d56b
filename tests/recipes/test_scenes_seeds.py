"""The repetition over seeds at the smallest size: which pairs are trained, and that seeds reach both trainings."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("quick_fits")
def test_classifier_and_inverter_are_repeated_together_and_the_inverter_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import scenes_seeds

    given = scenes_seeds.Seeds(tmp_path, seeds=(0, 3), num_images=32, num_fit_images=320, held_out=24)
    scenes_seeds.main(given)
    with (tmp_path / "seeds.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["classifier seed"], row["inverter seed"]) for row in rows] == [("0", "0"), ("3", "3"), ("0", "3")]
    weights = {
        path.read_bytes() for path in tmp_path.glob("classifier-*/robust/label/seed-*/inverter/model.safetensors")
    }
    assert len(weights) == 3
    classifiers = {path.read_bytes() for path in tmp_path.glob("classifier-*/robust/classifier/*.safetensors")}
    assert len(classifiers) == 2

    monkeypatch.setattr(scenes_seeds, "train", lambda _: pytest.fail("trained again"))
    scenes_seeds.main(given)
