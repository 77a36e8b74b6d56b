"""What an earlier version saved still opens, and a run that it began resumes with the same figures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError
from unlogit.images import Loader, View, open_images
from unlogit.methods import GeneratorInverter, TrainConfig, open_inverter
from unlogit.methods.biggan import BigGANConfig, DiscriminatorConfig, GeneratorConfig
from unlogit.methods.decoder import DecoderConfig, DosovitskiyConfig
from unlogit.methods.flow import FlowConfig, VelocityConfig
from unlogit.training.loop import train
from unlogit.training.run_folder import RunFolder
from unlogit.training.validation import CHUNK, drawn

SAVED = Path(__file__).parents[1] / "fixtures" / "796b835"
HELD_OUT = "scenes:test,count=20"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """The configuration of the saved run, a copy of which is in the current folder."""
    shutil.copytree(SAVED, tmp_path / "saved")
    monkeypatch.chdir(tmp_path / "saved")
    return TrainConfig(
        images="scenes:count=48",
        held_out=HELD_OUT,
        classifier="small:classifier",
        out=Path("run"),
        method=BigGANConfig(
            generator=GeneratorConfig(size=32, channels=1, noise=4, hidden=4, attention=None),
            discriminator=DiscriminatorConfig(channels=1, attention=None),
        ),
        num_images=96,
        batch=16,
        precision="fp32",
        log_every=32,
        checkpoint_every=64,
        validate_every=64,
        num_validation_images=16,
        cache=Path("cache"),
    )


def test_a_classifier_of_an_earlier_version_opens() -> None:
    classifier = open_classifier(f"small:{SAVED / 'classifier'}")
    batches = list(Loader(open_images(HELD_OUT), View(32), 20, seed=0).once())
    correct = torch.cat([classifier(batch.images).argmax(1) == batch.labels for batch in batches])
    reached = json.loads((SAVED / "classifier" / "config.json").read_text())["reached"]["clean"]
    assert float(correct.float().mean()) == pytest.approx(reached["accuracy"])


def test_an_inverter_of_an_earlier_version_opens() -> None:
    inverter = open_inverter(str(SAVED / "run" / "inverter"))
    assert isinstance(inverter, GeneratorInverter)
    images = Loader(open_images(HELD_OUT), View(32), CHUNK, seed=0).batch(0).images[:16]
    reconstructions = inverter.invert(inverter.representation.raw(images), drawn(inverter, len(images), 0))
    measured = inverter.facts["validation"]
    assert float((images - reconstructions).square().mean()) == pytest.approx(measured["pixel_error"], rel=1e-3)


def test_a_run_of_an_earlier_version_resumes(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlogit.methods.biggan.trainer.STANDING_IMAGES", 1_024)  # As that commit had it.
    figures = train(config)
    # What commit 796b835 itself measured after as many images.
    earlier = {"agreement": 0.6875, "logit_error": 11.7594, "pixel_error": 0.0958264, "diversity": 0.15554}
    assert {name: figures[name] for name in earlier} == pytest.approx(earlier, rel=1e-3)
    losses = [line for line in RunFolder(config.out).lines() if "loss_d" in line]
    assert [line["images"] for line in losses] == [32, 64, 96]
    assert losses[-1]["loss_d"] == pytest.approx(3.54257, rel=1e-2)
    assert losses[-1]["loss_g"] == pytest.approx(0.7048, rel=1e-2)


def test_a_run_of_an_earlier_version_is_not_mixed_with_another(config: TrainConfig) -> None:
    with pytest.raises(UnlogitError, match=r"d_steps: 2 there, 1 given\): resume it with its own, or") as raised:
        train(replace(config, method=replace(config.method, d_steps=1)))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("flow", FlowConfig(size=32, velocity=VelocityConfig(channels=32))),
        ("dosovitskiy2016b", DosovitskiyConfig(size=32, decoder=DecoderConfig(channels=32))),
    ],
)
def test_the_configuration_of_every_method_is_read(name: str, method: Any, config: TrainConfig) -> None:
    saved = json.loads((config.out / "config.json").read_text()) | {"method": name}
    RunFolder(config.out).compare(saved, replace(config, method=method))
    with pytest.raises(UnlogitError, match="method: biggan there"):
        RunFolder(config.out).compare(saved | {"method": "paper"}, replace(config, method=method))
