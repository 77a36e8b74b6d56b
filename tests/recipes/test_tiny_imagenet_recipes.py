"""Recipes of natural images, whose data set no test has: their configurations differ where they say that they do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))


def test_every_ablation_differs_from_the_others(tmp_path: Path) -> None:
    import tiny_imagenet_ablations
    import tiny_imagenet_methods

    natural = tiny_imagenet_methods.Natural(tmp_path, num_images=1_600)
    base = tiny_imagenet_methods.configs(natural)["paper, as many images, no warm start"]
    found = tiny_imagenet_ablations.changed(base)
    assert len({repr(config) for config in found.values()}) == len(found)
    assert base.method.turns == (0, 0)
    assert found["a warm start"].method.turns == (400, 500)


@pytest.mark.parametrize("kind", ["robust", "standard"])
def test_rivals_have_the_same_classifier_images_and_folders_of_their_own(tmp_path: Path, kind: str) -> None:
    import tiny_imagenet_methods

    natural = tiny_imagenet_methods.Natural(tmp_path, kind=kind, num_images=1_600)
    found = tiny_imagenet_methods.configs(natural)
    assert set(natural.learned) == set(found)
    assert {(c.classifier, c.images, c.num_images, c.size) for c in found.values()} == {
        (f"fitted:lite0_{kind}", f"parquet:{tmp_path}/train-*.parquet?first=98000", 1_600, 64)
    }
    assert len({config.out for config in found.values()}) == len(found)
    # What goes on from the published inverter goes on from this classifier's.
    card = ROOT / "src" / "unlogit" / "weights" / str(found["paper + re-encoding"].start) / "config.json"
    assert json.loads(card.read_text())["classifier"] == f"fitted:lite0_{kind}"


def test_validation_is_on_a_part_of_train_and_reported_numbers_on_neither(tmp_path: Path) -> None:
    import tiny_imagenet_lite0

    config = tiny_imagenet_lite0.config(tiny_imagenet_lite0.Recipe(tmp_path, training=900))
    assert config.images == f"parquet:{tmp_path}/train-*.parquet?first=900"
    assert config.held_out == f"parquet:{tmp_path}/train-*.parquet?skip=900"
