"""A class is kept where the index is the same, whatever the classes are called."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unlogit import cli, reconstruct
from unlogit.images import to_bytes
from unlogit.methods import Inverter


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"$p_{seed}$.png" for seed in range(6)]
    for seed, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8)).save(path)
    return list(map(str, paths))


@pytest.fixture
def inverter(tiny_inverters: dict[str, Inverter], monkeypatch: pytest.MonkeyPatch) -> Inverter:
    made = deepcopy(tiny_inverters["standard"])
    monkeypatch.setattr(reconstruct, "open_inverter", lambda _spec, _trust_code: made)
    return made


def test_two_classes_of_one_name_are_two(
    photos: list[str], inverter: Inverter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inverter.representation.classifier.class_names = ("crane, bird", "crane, machine") * 5
    # Photos are classified one by one, reconstructions together.
    # Photos are classified one by one, reconstructions together.
    answers = {1: iter([[0], [1], [2], [3], [4], [5]]), 6: iter([[0, 1, 2, 0, 0, 0]])}
    monkeypatch.setattr(reconstruct, "_classes", lambda _inverter, images: next(answers[len(images)]))
    config = reconstruct.ReconstructConfig(tuple(map(Path, photos)), tmp_path / "out", seed=1)
    made, _, _ = reconstruct.reconstruct(config)
    assert [one.kept for one in made] == [True, True, True, False, False, False]
    assert made[3].original == "crane (3)" and made[3].reconstructed == "crane (0)"
    # Rounded, not cut off, to 256 levels.
    with Image.open(made[0].file) as file:
        assert np.array_equal(np.asarray(file), to_bytes(made[0].image).permute(1, 2, 0).numpy())


@pytest.mark.parametrize("name", ["_hidden", "a/b", "../up", "$x_1$", "\udcff", "n" * 300])
def test_names_of_inverters_and_classes_may_hold_anything(
    photos: list[str], inverter: Inverter, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    inverter.representation.classifier.class_names = ("$a_1$", "_b", "\udcff", "c\x1b[0m", *"$$$$$$")
    out = tmp_path / "out"
    given = ["--inverter", f"{name}=A", "--inverter", "other=B"]
    assert cli.main(["reconstruct", *photos[:2], "--out", str(out), *given]) == 0
    assert len(list(out.iterdir())) == 5 and not list(tmp_path.glob("*/*/*.png"))
    assert sorted(tmp_path.glob("*.png")) == sorted(map(Path, photos))
    assert "\x1b" not in capfd.readouterr().out
