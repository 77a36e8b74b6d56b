"""Inverters take any kind of image, at the classifier's size or as in training, with a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unlogit.errors import UnlogitError
from unlogit.methods import Inverter


@pytest.fixture
def inverter(tiny_inverters: dict[str, Inverter]) -> Inverter:
    """Return an inverter of 32 px whose classifier takes 32 px."""
    return tiny_inverters["standard"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    array = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(array).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def test_any_image_and_a_seed(inverter: Inverter, path: Path) -> None:
    image = Image.open(path)
    made = inverter.reconstruct([path, image, np.asarray(image)], seed=3)
    assert made.shape == (3, 3, 32, 32)
    alone = inverter.reconstruct(str(path), seed=3)
    assert torch.equal(alone, inverter.reconstruct(path, seed=3))
    torch.testing.assert_close(made, alone.expand_as(made))
    assert not torch.equal(alone, inverter.reconstruct(path, seed=4))
    with pytest.raises(UnlogitError, match="noise and seed cannot be combined"):
        inverter.reconstruct(path, inverter.sample_noise(1), seed=0)


def test_a_photo_reaches_the_classifier_at_its_size(
    inverter: Inverter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inverter, "size", 16)
    (own,), (training,) = inverter.views(path), inverter.views(path, "training")
    assert own.shape[-1] == 32 and training.shape[-1] == 16
    raw = inverter.representation.raw
    noise = inverter.sample_noise(1, torch.Generator().manual_seed(0))
    assert torch.equal(inverter.reconstruct(path, seed=0), inverter.invert(raw(own), noise))
    assert torch.equal(inverter.reconstruct(path, seed=0, view="training"), inverter.invert(raw(training), noise))
    with pytest.raises(UnlogitError, match="unknown view 'large'"):
        inverter.reconstruct(path, view="large")  # type: ignore[arg-type]
