"""Losses of 30 steps of each recipe's objective are those of `golden_losses.json`, so that changed mathematics is seen.

The file is written by

    UNLOGIT_WRITE_GOLDEN=1 python -m pytest tests/training/test_golden_losses.py

which is right only for a change that is meant to alter what is learned (another loss, another default of a recipe,
another order of random numbers); the commit says which. A rewrite for speed must pass with the file as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unlogit.images import open_images
from unlogit.methods import TrainConfig, TrainingData, trainer_of
from unlogit.methods.decoder import DOSOVITSKIY_2016A, DecoderConfig, DosovitskiyConfig
from unlogit.methods.flow import FlowConfig, VelocityConfig

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden_losses.json")
STEPS = 30
KEPT = (1, 2, 5, 10, 20, 30)
"""Steps whose losses are compared. Rounding grows over the steps, and so does the tolerance."""
RELATIVE, ABSOLUTE = (1e-3, 2e-2), (1e-4, 5e-3)
"""Tolerance at the first and at the last step."""
NAMES = ("imagenet_paper", "tiny_imagenet_lite0", "demo", "dosovitskiy2016a", "dosovitskiy2016b", "flow")


@pytest.fixture
def configs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_classifier_spec: str
) -> dict[str, Callable[[], TrainConfig]]:
    """Each recipe's configuration at a tiny size, with its objective as it is."""
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import demo
    import imagenet_paper
    import tiny_imagenet_lite0

    def shrink(config: TrainConfig, channels: int, batch: int = 4) -> TrainConfig:
        discriminator = config.method.discriminator
        if discriminator.kind == "projected":
            discriminator = replace(
                discriminator,
                network=tiny_classifier_spec,
                maps=("stages.0", "stages.1", "penultimate"),
                widths=(8, 8),
                pixel_channels=min(4, discriminator.pixel_channels),
            )
        else:
            discriminator = replace(discriminator, channels=channels)
        generator = replace(config.method.generator, channels=channels)
        if generator.embedding:
            generator = replace(generator, embedding=16, hidden=8)
        return replace(
            config,
            images="scenes:count=48",
            classifier=tiny_classifier_spec,
            batch=batch,
            precision="fp32",
            cache=tmp_path / "cache",
            method=replace(config.method, generator=generator, discriminator=discriminator),
        )

    recipe = tiny_imagenet_lite0.Recipe(tmp_path, out=tmp_path / "run")
    small = shrink(demo.inverter_config(demo.Demo(tmp_path), "robust", "logits"), 4, 8)
    decoder = DosovitskiyConfig(size=32, decoder=DecoderConfig(4, 32))
    adversarial = replace(DOSOVITSKIY_2016A, size=32, decoder=DecoderConfig(4, 32), module="stages.1")
    return {
        "imagenet_paper": lambda: shrink(imagenet_paper.config(imagenet_paper.Recipe("scenes:", "scenes:test")), 8),
        "tiny_imagenet_lite0": lambda: shrink(tiny_imagenet_lite0.config(recipe), 4),
        "demo": lambda: small,
        "dosovitskiy2016a": lambda: replace(small, method=adversarial),
        "dosovitskiy2016b": lambda: replace(small, method=decoder),
        "flow": lambda: replace(small, method=FlowConfig(size=32, velocity=VelocityConfig(8, 16))),
    }


def losses(config: TrainConfig) -> dict[str, dict[str, float]]:
    """What the steps `KEPT` report, by step and name."""
    device = torch.device("cpu")
    data = TrainingData(config, open_images(config.images), device, None)
    method = trainer_of(config.method)(config, data, device)
    method.begin()
    kept = {}
    for step in range(1, STEPS + 1):
        method.schedule()
        values = method.step()
        if step in KEPT:
            kept[str(step)] = {name: float(value) for name, value in values.items()}
    return kept


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_the_golden_ones(configs: dict[str, Callable[[], TrainConfig]], name: str) -> None:
    found = losses(configs[name]())
    known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("UNLOGIT_WRITE_GOLDEN"):
        rounded = {step: {k: float(f"{v:.6g}") for k, v in values.items()} for step, values in found.items()}
        GOLDEN.write_text(json.dumps(dict(sorted((known | {name: rounded}).items())), indent=1) + "\n")
        return
    assert found.keys() == known[name].keys()
    for step, values in known[name].items():
        part = int(step) / STEPS
        rtol, atol = ((1 - part) * first + part * last for first, last in (RELATIVE, ABSOLUTE))
        assert found[step] == pytest.approx(values, rel=rtol, abs=atol), f"{name}, step {step}"


def test_every_recipe_of_a_loss_has_its_golden_losses() -> None:
    assert set(json.loads(GOLDEN.read_text())) == set(NAMES)
