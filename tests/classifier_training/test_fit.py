"""Fitting: it learns, is repeatable, reports what it reached, and writes all or nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from unlogit.classifier_training import FitConfig, fit
from unlogit.classifier_training.accuracy import clean_accuracy
from unlogit.classifier_training.fitting import Fitting
from unlogit.classifiers import open_classifier
from unlogit.classifiers._starts import new_small
from unlogit.classifiers.small import SmallConfig
from unlogit.errors import UnlogitError
from unlogit.files import locked
from unlogit.images import Loader, View, open_images
from unlogit.runtime.launch import launch
from unlogit.statistics import wilson

COLOURS = {"blue": (90, 100, 170), "green": (90, 170, 100), "red": (170, 100, 90)}


def paint(folder: Path, each: int, seed: int) -> str:
    """Noisy squares of three colours, a folder for each."""
    generator = torch.Generator().manual_seed(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for index in range(each):
            noise = torch.randint(-60, 61, (32, 32, 3), generator=generator)
            image = (torch.tensor(colour) + noise).clamp(0, 255).byte()
            Image.fromarray(image.numpy()).save(folder / name / f"{index}.png")
    return f"folder:{folder}"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> FitConfig:
    folder = tmp_path_factory.mktemp("painted")
    return FitConfig(
        out=Path("unused"),
        images=paint(folder / "train", 40, 0),
        test_images=paint(folder / "test", 20, 1),
        num_images=960,
        batch=32,
        widths=(8, 8, 16),
        epsilon=4 / 255,
        num_test_images=60,
        num_attacked_images=20,
    )


def test_it_learns_and_reports_what_it_reached(config: FitConfig, tmp_path: Path) -> None:
    reached = fit(replace(config, out=tmp_path / "c"))
    assert set(reached) == {"clean", "pgd-20"}
    assert (reached["clean"]["n"], reached["pgd-20"]["n"]) == (60, 20)
    assert reached["clean"]["accuracy"] > 0.9
    for figures in reached.values():
        interval = wilson(round(figures["accuracy"] * figures["n"]), figures["n"])
        assert (figures["low"], figures["high"]) == pytest.approx((interval.low, interval.high))
    # The folder holds the classifier of which that was measured, and says how it came about.
    c = open_classifier(f"small:{tmp_path / 'c'}")
    assert c.class_names == ("blue", "green", "red")
    (batch,) = Loader(open_images(config.test_images), View(32), 60, seed=0).once()
    assert float((c(batch.images).argmax(1) == batch.labels).float().mean()) == reached["clean"]["accuracy"]
    saved = json.loads((tmp_path / "c" / "config.json").read_text())
    assert saved["reached"] == reached and saved["fit"]["images"] == config.images


def test_scenes_are_learnt_beyond_chance(tmp_path: Path) -> None:
    few = FitConfig(tmp_path / "c", "scenes:count=1000", num_images=1600, num_test_images=300, num_attacked_images=10)
    reached = fit(few)
    assert reached["clean"]["low"] > 0.1, reached


@pytest.mark.parametrize("objective", ["fgsm", "pgd", "trades", "llr"])
def test_the_attacked_objectives_learn_too(config: FitConfig, tmp_path: Path, objective: Any) -> None:
    reached = fit(replace(config, out=tmp_path / "c", objective=objective, pgd_steps=2))
    assert reached["clean"]["accuracy"] > 0.9 and reached["pgd-20"]["accuracy"] > 0.8


@pytest.mark.parametrize(("epsilon", "as_clean"), [(0.0, True), (0.5, False)])
def test_the_attack_reported_is_of_that_epsilon(
    config: FitConfig, tmp_path: Path, epsilon: float, as_clean: bool
) -> None:
    short = replace(config, out=tmp_path / "c", epsilon=epsilon, num_test_images=20, num_images=640)
    reached = fit(short)
    if as_clean:
        assert reached["pgd-20"] == reached["clean"]
    else:
        assert reached["pgd-20"]["accuracy"] < 0.1 < reached["clean"]["accuracy"]


def test_the_same_seed_gives_the_same_classifier_and_leaves_the_generator_alone(
    config: FitConfig, tmp_path: Path
) -> None:
    short = replace(config, objective="fgsm", num_images=128)
    state = torch.get_rng_state()
    digests = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(replace(short, out=tmp_path / name, seed=seed))
        digests.append(open_classifier(f"small:{tmp_path / name}").fingerprint())
    assert digests[0] == digests[1] != digests[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_the_same_command_again_does_nothing_and_another_is_refused(config: FitConfig, tmp_path: Path) -> None:
    first = replace(config, out=tmp_path / "c", num_images=64)
    reached = fit(first)
    written = (tmp_path / "c" / "model.safetensors").stat().st_mtime_ns
    assert fit(first) == reached
    with pytest.raises(UnlogitError, match="holds another training"):
        fit(replace(first, seed=1))
    assert (tmp_path / "c" / "model.safetensors").stat().st_mtime_ns == written


def test_an_interrupted_evaluation_goes_on_from_the_last_checkpoint(
    config: FitConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    short = replace(config, out=tmp_path / "c", num_images=64)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("unlogit.classifier_training.loop.accuracy", interrupt)
        fit(short)
    assert not (tmp_path / "c" / "config.json").exists()
    with pytest.raises(UnlogitError, match="holds another training"):
        fit(replace(short, seed=1))
    monkeypatch.setattr("unlogit.classifier_training.fitting.Fitting.step", interrupt)
    assert fit(short)["clean"]["n"] == 60
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"config.json", "metrics.jsonl", "model.safetensors"}


@pytest.mark.parametrize(
    "changes", [{"objective": "standard"}, {"objective": "fgsm"}, {"objective": "standard", "layout_weight": 1.0}]
)
def test_a_resumed_fit_is_the_uninterrupted_one(
    config: FitConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    short = replace(config, num_images=192, checkpoint_every=64, log_every=64, ema_half_life=100, **changes)
    fit(replace(short, out=tmp_path / "straight"))
    steps = count()
    step = Fitting.step

    def stop_in_the_fourth(fitting: Fitting) -> torch.Tensor:
        if next(steps) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(fitting)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="stopped at 128 images"):
        patch.setattr(Fitting, "step", stop_in_the_fourth)
        fit(replace(short, out=tmp_path / "resumed"))
    fit(replace(short, out=tmp_path / "resumed"))
    straight, resumed = (open_classifier(f"small:{tmp_path / name}") for name in ("straight", "resumed"))
    assert straight.fingerprint() == resumed.fingerprint()
    lines = [json.loads(line) for line in (tmp_path / "resumed" / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [64, 128, 192]


def test_two_processes_see_the_same_images_as_one(config: FitConfig, tmp_path: Path) -> None:
    # Without flips and attacks, in the first step: later ones differ by each process's own batch statistics.
    one, two = (replace(config, out=tmp_path / name, num_images=32, batch=32) for name in ("one", "two"))
    fit(one)
    reached = launch(fit, two, 2)
    assert reached["clean"]["n"] == 60
    losses = [json.loads((c.out / "metrics.jsonl").read_text())["loss"] for c in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


def test_averaged_weights_are_what_is_saved(config: FitConfig, tmp_path: Path) -> None:
    long, short = (
        replace(config, out=tmp_path / str(life), num_images=320, ema_half_life=life) for life in (1e9, 1e-3)
    )
    plain = replace(short, out=tmp_path / "plain", ema_half_life=0.0)
    for one in (long, short, plain):
        fit(one)
    weights = [open_classifier(one.spec).network.head.weight for one in (long, short, plain)]
    torch.testing.assert_close(weights[1], weights[2])
    assert not torch.allclose(weights[0], weights[2])


def test_a_folder_of_something_else_is_left_alone(config: FitConfig, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("as well")
    for name in ("c", "file"):
        with pytest.raises(UnlogitError, match="holds another training"):
            fit(replace(config, out=tmp_path / name))
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["thesis.txt"]


def test_images_without_labels_or_of_other_classes_are_refused(config: FitConfig, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.new("RGB", (32, 32)).save(flat / "a.png")
    with pytest.raises(UnlogitError, match=r"flat.* no label"):
        fit(replace(config, out=tmp_path / "c", images=f"folder:{flat}"))
    with pytest.raises(UnlogitError, match="must have the same classes"):
        fit(replace(config, out=tmp_path / "c", test_images="scenes:test"))
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("field", "value"), [("num_images", 0), ("batch", 0), ("pgd_steps", 0), ("num_test_images", 0), ("epsilon", 8.0)]
)
def test_values_out_of_range_are_one_clear_line(field: str, value: float) -> None:
    with pytest.raises(UnlogitError, match=rf"{field} {value}: must be"):
        FitConfig(Path("c"), **{field: value})  # type: ignore[arg-type]


def test_a_loss_that_is_no_number_stops_the_fit(config: FitConfig, tmp_path: Path) -> None:
    with pytest.raises(UnlogitError, match="lower the learning rate"):
        fit(replace(config, out=tmp_path / "c", learning_rate_rest=1e30, num_images=64))
    # Nothing that would hinder another attempt.
    assert fit(replace(config, out=tmp_path / "c", num_images=64))["clean"]["n"] == 60


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoints/mine.pt", "metrics.jsonl", "config.json"])
def test_files_that_only_have_our_names_are_left_alone(config: FitConfig, tmp_path: Path, name: str) -> None:
    path = tmp_path / "c" / name
    path.parent.mkdir(parents=True)
    path.write_text("years of work")
    with pytest.raises(UnlogitError, match="holds another training"):
        fit(replace(config, out=tmp_path / "c"))
    assert [p for p in (tmp_path / "c").rglob("*") if p.is_file()] == [path]
    assert path.read_text() == "years of work"


def test_one_fit_at_a_time_writes_a_folder(config: FitConfig, tmp_path: Path) -> None:
    with locked(tmp_path / "c"), pytest.raises(UnlogitError, match=r"is being written by process \d+ on"):
        fit(replace(config, out=tmp_path / "c"))
    assert not list((tmp_path / "c").iterdir())


def test_a_fit_goes_on_only_with_the_same_images(
    config: FitConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = paint(tmp_path / "images", 12, 0)
    short = replace(config, out=tmp_path / "c", images=images, num_images=64)

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("unlogit.classifier_training.loop.accuracy", interrupt)
        fit(short)
    shutil.rmtree(tmp_path / "images")
    paint(tmp_path / "images", 12, 5)
    with pytest.raises(UnlogitError, match=r"^images 'folder:\S+' has changed since the run was saved"):
        fit(short)


def test_training_stops_when_the_target_accuracy_is_first_reached(config: FitConfig, tmp_path: Path) -> None:
    given = replace(config, num_images=3_200, target_every=64, log_every=64, checkpoint_every=128)
    for name, life in (("plain", 0.0), ("averaged", 100.0)):
        out = tmp_path / name
        reached = fit(replace(given, out=out, target_accuracy=0.8, ema_half_life=life))
        assert reached["clean"]["accuracy"] >= 0.8
        images = [json.loads(line)["images"] for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert images[-1] < 3_200 and images[-1] % 64 == 0
        # One measurement earlier it was not there yet.
        earlier = replace(given, out=tmp_path / f"{name} earlier", ema_half_life=life)
        short = fit_for(earlier, images[-1] - 64) if images[-1] > 64 else 0.0
        assert short < 0.8


def fit_for(config: FitConfig, images: int) -> float:
    """Accuracy after so many images of a training that is planned as long as its configuration says."""
    source, held_out = open_images(config.images), open_images(config.test_images)
    classifier = new_small(SmallConfig(3, 32, config.widths), source.class_names, config.spec, config.seed)
    fitting = Fitting(config, classifier, source, None, torch.device("cpu"))
    while fitting.images < images:
        fitting.step()
    loader = Loader(held_out, View(32), 64, seed=0)
    return float(clean_accuracy(fitting.result(), loader, None, config.num_test_images)["accuracy"])


def test_a_training_stopped_at_its_target_stays_stopped(
    config: FitConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    given = replace(config, out=tmp_path / "c", target_accuracy=0.0, target_every=64)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("unlogit.classifier_training.loop.accuracy", interrupt)
        fit(given)
    monkeypatch.setattr("unlogit.classifier_training.fitting.Fitting.step", interrupt)
    assert fit(given)["clean"]["n"] == 60


def test_a_target_that_is_not_reached_is_a_warning(
    config: FitConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(replace(config, out=tmp_path / "c", num_images=64, target_accuracy=1.0, target_every=64))
    assert "below target accuracy 100.0%: give more images, or a lower target" in capsys.readouterr().err
    fit(replace(config, out=tmp_path / "d", num_images=64))
    assert "target accuracy" not in capsys.readouterr().err
