"""A run's folder: whose it is, who writes it, and that a checkpoint goes on only with what it was made with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from unlogit.classifiers.small import SmallConfig, SmallResNet, save_small
from unlogit.errors import UnlogitError
from unlogit.files import LOCK, locked
from unlogit.images import open_images
from unlogit.methods import open_inverter
from unlogit.methods.biggan import DiscriminatorConfig
from unlogit.methods.biggan.trainer import BigGANTrainer
from unlogit.runtime.checkpoint import Checkpoints
from unlogit.training import TrainConfig
from unlogit.training.loop import train

Tiny = Callable[..., TrainConfig]


def save_classifier(folder: Path, seed: int, constant: bool = False) -> str:
    """Write a classifier of scenes with random weights; with a logit that is the same for all images if asked for."""
    torch.manual_seed(seed)
    names = open_images("scenes:").class_names
    network = SmallResNet(SmallConfig(len(names), 32, (8, 8, 16)))
    if constant:
        with torch.no_grad():
            network.head.weight[3].zero_()
    save_small(folder, network, names, {})
    return f"small:{folder}"


def save_images(folder: Path, count: int, seed: int) -> str:
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    for i in range(count):
        pixels = torch.randint(0, 256, (32, 32, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{i}.png")
    return f"folder:{folder}"


def strict_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a file, which must be JSON as the standard has it."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("best/thesis.txt", "years of work"),
        ("inverter/config.json", '{"format": 1, "classifier": "x", "layer": "y", "facts": {}}'),
        ("samples/holiday.png", "a photo"),
        ("checkpoints/000000016.pt", "theirs"),
        ("metrics.jsonl", '{"loss": 1}'),
        ("config.json", '{"name": "vite"}'),
        ("config.json", '["a"]'),
        ("config.json", '{"images": '),
        ("config.json", b"\xff\xfe\x00"),
    ],
)
def test_somebody_else_s_files_are_left_alone(tiny: Tiny, name: str, content: str | bytes) -> None:
    # Nothing is opened before: the classifier is not there.
    config = tiny(classifier="small:nowhere")
    path = config.out / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UnlogitError, match=r"did not write it|cannot be read|must be an object") as told:
        train(config)
    assert "\n" not in str(told.value)
    assert [p.relative_to(config.out).as_posix() for p in config.out.rglob("*") if p.is_file()] == [name]


def test_other_files_in_the_folder_stay_and_a_foreign_folder_in_a_run_is_refused(tiny: Tiny) -> None:
    config = tiny(num_images=16)
    config.out.mkdir()
    (config.out / "notes.txt").write_text("mine")
    (config.out / "samples").mkdir()
    train(config)
    assert (config.out / "notes.txt").read_text() == "mine"
    assert not (config.out / LOCK).exists()
    (config.out / "best" / "notes.txt").write_text("mine too")
    with pytest.raises(UnlogitError, match="best' exists and unlogit did not write it"):
        train(replace(config, num_images=32))


def test_two_runs_in_one_folder_do_not_mix(tiny: Tiny) -> None:
    config = tiny()
    with locked(config.out), pytest.raises(UnlogitError, match=r"is being written by process \d+ on .* since"):
        train(config)
    assert not list(config.out.iterdir())


def test_a_run_resumes_only_with_the_same_classifier_and_images(tiny: Tiny, tmp_path: Path) -> None:
    classifier, images, held_out = tmp_path / "c", tmp_path / "images", tmp_path / "held-out"
    config = tiny(
        classifier=save_classifier(classifier, 0),
        images=save_images(images, 16, 0),
        held_out=save_images(held_out, 16, 1),
        discriminator=DiscriminatorConfig(
            kind="projected",
            network=save_classifier(tmp_path / "d", 1),
            maps=("stages.0", "stages.1", "penultimate"),
            widths=(8, 8),
        ),
        num_images=16,
    )
    train(config)
    more = replace(config, num_images=32)
    changes: dict[str, tuple[Path, Callable[[], object]]] = {
        "classifier": (classifier, lambda: save_classifier(classifier, 5)),
        "discriminator.network": (tmp_path / "d", lambda: save_classifier(tmp_path / "d", 5)),
        "images": (images, lambda: save_images(images, 16, 5)),
        "held_out": (held_out, lambda: save_images(held_out, 16, 5)),
    }
    for name, (folder, change) in changes.items():
        shutil.copytree(folder, tmp_path / "kept", copy_function=shutil.copy2)
        change()
        with pytest.raises(UnlogitError, match=rf"^{name} '\S+' has changed since the run was saved: restore"):
            train(more)
        shutil.rmtree(folder)
        (tmp_path / "kept").rename(folder)
    # The configuration counts even where its file was edited.
    path = config.out / "config.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(UnlogitError, match="seed: 0 there, 1 given"):
        train(replace(more, seed=1))
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 0'))
    # A checkpoint of version 0.1.0 says nothing of either, and goes on.
    checkpoints = Checkpoints(config.out / "checkpoints")
    saved = checkpoints.load()
    assert saved is not None
    saved.pop("config"), saved.pop("fingerprints")
    checkpoints.save(saved["images"], saved)
    train(more)


def test_a_constant_logit_is_no_hindrance(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(classifier=save_classifier(tmp_path / "c", 0, constant=True), validate_every=16)
    train(replace(config, num_images=16))
    # What version 0.1.0 wrote of such a run.
    metrics = config.out / "metrics.jsonl"
    lines = strict_lines(metrics)
    for line in lines:
        if "val/logit_error" in line:
            assert line["val/logit_error"] > 0
            line["val/logit_error"] = float("nan")
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    train(config)
    found = {line["images"]: line.get("val/logit_error") for line in strict_lines(metrics) if "val/agreement" in line}
    assert list(found) == [16, 32, 48]
    assert found.pop(16) is None
    best = min(found, key=lambda images: found[images] or 0.0)
    inverter = open_inverter(str(config.out / "best"))
    assert inverter.facts["images_seen"] == best
    assert "NaN" not in (config.out / "best" / "config.json").read_text()


def test_weights_that_break_before_a_validation_are_rolled_back(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    step, times = BigGANTrainer.step, iter([True])

    def breaking(self: BigGANTrainer) -> dict[str, torch.Tensor]:
        told = step(self)
        if self.images == 32 and next(times, False):
            with torch.no_grad():
                self.generator.last_bias.fill_(torch.nan)
                self.average.module.last_bias.fill_(torch.nan)
        return told

    monkeypatch.setattr(BigGANTrainer, "step", breaking)
    config = tiny(rollback=1, log_every=1_000_000, validate_every=16, checkpoint_every=16)
    train(config)
    assert [line["rollbacks"] for line in strict_lines(config.out / "metrics.jsonl") if "rollbacks" in line] == [1]
