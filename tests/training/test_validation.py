"""What a validation measures, by which best/ is chosen, and which classifiers may evaluate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from unlogit.classifiers import open_classifier
from unlogit.classifiers.small import SmallConfig, SmallResNet, save_small
from unlogit.errors import UnlogitError
from unlogit.images import open_images
from unlogit.methods import LearnedInverter, open_inverter
from unlogit.methods._train_config import SCORES
from unlogit.methods.biggan import DiscriminatorConfig
from unlogit.methods.decoder import DecoderConfig, DosovitskiyConfig
from unlogit.training import TrainConfig, validation
from unlogit.training.loop import train

Tiny = Callable[..., TrainConfig]


@pytest.fixture
def independent(tmp_path: Path) -> str:
    """`small:FOLDER` of a classifier that takes no part in training."""
    torch.manual_seed(7)
    names = open_images("scenes:").class_names
    save_small(tmp_path / "independent", SmallResNet(SmallConfig(len(names), 32, (8, 8, 16))), names, {})
    return f"small:{tmp_path / 'independent'}"


def lines(config: TrainConfig) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in read if "val/agreement" in line]


def saved(folder: Path) -> LearnedInverter:
    inverter = open_inverter(str(folder))
    assert isinstance(inverter, LearnedInverter)
    return inverter


def test_recognition_and_spectrum_are_logged_and_best_goes_by_any_metric(tiny: Tiny, independent: str) -> None:
    config = tiny(num_images=32, validate_every=8, recognition=(independent,), best="recognition")
    means = train(config)
    found = lines(config)
    assert means["recognition"] == means[f"recognition/{independent}"]
    assert means["recognition"] == pytest.approx(found[-1]["val/recognition"], rel=1e-3)
    assert -1 < means["recognition"] < 1
    assert {"octave_excess", "peak_excess"} <= means.keys() and set(means) - {f"recognition/{independent}"} == set(
        SCORES
    )
    best = max(found, key=lambda line: line["val/recognition"])
    assert saved(config.out / "best").facts["images_seen"] == best["images"]
    # Another metric may choose from here on.
    more = tiny(num_images=48, validate_every=8, recognition=(), best="pixel_error")
    train(more)
    *earlier, last = lines(more)
    assert "val/recognition" not in last
    better = last["val/pixel_error"] < min(line["val/pixel_error"] for line in earlier)
    assert saved(config.out / "best").facts["images_seen"] == (last if better else best)["images"]


def test_scores_know_their_direction() -> None:
    better = {"recognition": (0.3, 0.2), "logit_error": (0.4, 0.5), "octave_excess": (-0.5, 1.0), "variety": (0.9, 1.2)}
    for name, (good, bad) in better.items():
        assert SCORES[name](good) > SCORES[name](bad)


def test_best_must_be_measured(tiny: Tiny) -> None:
    with pytest.raises(
        UnlogitError, match=r"unknown validation metric of --best 'logit_eror': must be one of agreement,"
    ):
        tiny(best="logit_eror")
    with pytest.raises(UnlogitError, match="best 'recognition' is not measured: give --recognition a classifier"):
        train(tiny(best="recognition"))
    with pytest.raises(
        UnlogitError, match="best 'diversity' is not measured in this run: give --best one of agreement,"
    ):
        train(tiny(best="diversity", method=DosovitskiyConfig(size=32, decoder=DecoderConfig(4, 32))))


def test_a_classifier_that_takes_part_cannot_evaluate(
    tiny: Tiny, independent: str, tiny_classifier_spec: str, projected: DiscriminatorConfig
) -> None:
    with pytest.raises(UnlogitError, match="takes part in this training as 'small:"):
        train(tiny(recognition=(tiny_classifier_spec,)))
    features = DiscriminatorConfig(**{**vars(projected), "network": independent})
    with pytest.raises(UnlogitError, match=f"recognition '{independent}' takes part"):
        train(tiny(recognition=(independent,), discriminator=features))


def test_an_inverter_records_the_classifiers_that_took_part(
    tiny: Tiny, independent: str, tiny_classifier_spec: str, projected: DiscriminatorConfig, tmp_path: Path
) -> None:
    weights = {s: open_classifier(s).weights_fingerprint() for s in (tiny_classifier_spec, independent)}
    config = tiny(discriminator=DiscriminatorConfig(**{**vars(projected), "network": independent}), num_images=16)
    train(config)
    inverter = saved(config.out / "inverter")
    assert inverter.facts["took_part"] == weights
    assert inverter.took_part() == weights
    assert (
        f"Classifiers that took part in training: `{tiny_classifier_spec}`, `{independent}`."
        in (config.out / "inverter" / "README.md").read_text()
    )
    # Also those of the inverter that a run starts from.
    again = tiny(start=str(config.out / "inverter"), out=tmp_path / "again", num_images=8, recognition=(independent,))
    with pytest.raises(UnlogitError, match=f"recognition '{independent}' takes part"):
        train(again)


def test_packaged_networks_evaluate_by_themselves_where_they_can(
    tiny: Tiny, independent: str, tiny_classifier_spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_classifier(tiny_classifier_spec)
    took_part: dict[str, str | None] = {tiny_classifier_spec: opened.weights_fingerprint()}
    monkeypatch.setattr(validation, "AUTO", (independent, tiny_classifier_spec, "packaged:not_installed"))
    scenes, photos = open_images("scenes:count=4"), open_images("scenes:count=4")
    photos.spec = "folder:photos"
    cpu = torch.device("cpu")
    assert validation._recognisers(tiny(), scenes, took_part, cpu) == {}
    assert list(validation._recognisers(tiny(), photos, took_part, cpu)) == [independent]
    assert validation._recognisers(tiny(recognition=()), photos, took_part, cpu) == {}
