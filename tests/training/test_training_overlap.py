"""A run warns where its held-out images are its training images, and records what it was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from unlogit.images import open_images
from unlogit.training import TrainConfig, train


@pytest.mark.parametrize(("held_out", "warned"), [("scenes:train,count=48", True), ("scenes:test,count=48", False)])
def test_held_out_images_that_are_the_training_images(
    tiny: Callable[..., TrainConfig], held_out: str, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny(held_out=held_out, num_images=8)
    train(config)
    message = f"unlogit: warning: the held-out images {held_out} are the training images"
    assert (message in capsys.readouterr().err) == warned
    facts = json.loads((config.out / "inverter" / "config.json").read_text())["facts"]
    assert facts["training_fingerprint"] == open_images(config.images).fingerprint()
    assert facts["training_images"] == config.images and "earlier_training" not in facts
