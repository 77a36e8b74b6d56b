"""The loop: what it writes, resumes and refuses; the same from any checkpoint on, for any number of processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from unlogit.errors import UnlogitError
from unlogit.images import View, open_images
from unlogit.methods import open_inverter
from unlogit.methods.biggan import DiscriminatorConfig, GeneratorConfig, trainer
from unlogit.methods.biggan.trainer import BigGANTrainer
from unlogit.runtime.checkpoint import Checkpoints
from unlogit.training import TrainConfig
from unlogit.training.launch import launch
from unlogit.training.loop import Training, train

Tiny = Callable[..., TrainConfig]


def weights(config: TrainConfig) -> dict[str, torch.Tensor]:
    """Every tensor of the newest checkpoint, by path."""
    found: dict[str, torch.Tensor] = {}

    def walk(value: object, path: str) -> None:
        if isinstance(value, torch.Tensor):
            found[path] = value
        elif isinstance(value, dict):
            for key, part in value.items():
                walk(part, f"{path}/{key}")
        elif isinstance(value, list | tuple):
            for i, part in enumerate(value):
                walk(part, f"{path}/{i}")

    walk(Checkpoints(config.out / "checkpoints").load(), "")
    assert found
    return found


def assert_same(a: TrainConfig, b: TrainConfig) -> None:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    for path, value in first.items():
        assert torch.equal(second[path], value), path


def test_a_run_leaves_a_complete_folder(tiny: Tiny) -> None:
    config = tiny()
    figures = train(config)
    assert {"agreement", "logit_error", "pixel_error", "layout_cosine", "diversity"} <= figures.keys()
    assert json.loads((config.out / "config.json").read_text())["batch"] == 8
    lines = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines if "loss_d" in line] == [16, 32, 48]  # two D steps a step
    assert [line["images"] for line in lines if "val/agreement" in line] == [32, 48]
    grid = Image.open(config.out / "samples" / "000000048.png")
    assert grid.size == (16 * 33 + 1, 2 * 33 + 1)
    inverter = open_inverter(str(config.out / "inverter"))
    images = View(32).apply(open_images("scenes:test,count=4").read(range(4)))
    again = open_inverter(str(config.out / "inverter"))
    noise = inverter.sample_noise(4, torch.Generator().manual_seed(0))
    assert torch.equal(inverter.reconstruct(images, noise), again.reconstruct(images, noise))
    assert not list(config.out.rglob("*.partial"))


def test_a_finished_run_does_nothing_more(tiny: Tiny) -> None:
    config = tiny()
    figures = train(config)
    before = {p: p.stat().st_mtime_ns for p in (config.out / "checkpoints").iterdir()}
    assert train(config) == pytest.approx(figures, rel=1e-4)
    assert {p: p.stat().st_mtime_ns for p in (config.out / "checkpoints").iterdir()} == before


@pytest.mark.parametrize("aided", [False, True])
def test_resuming_equals_not_stopping_bit_for_bit(
    tiny: Tiny, tmp_path: Path, projected: DiscriminatorConfig, aided: bool
) -> None:
    deviations = {
        "discriminator": projected,
        "d_steps": 1,
        "shared_fakes": True,
        "warm_start": 16,
        "layout_weight": 10.0,
    }
    changes = deviations if aided else {}
    whole = tiny(out=tmp_path / "whole", **changes)
    train(whole)
    parts = tmp_path / "parts"
    for images in (16, 32, 48):
        train(tiny(out=parts, num_images=images, **changes))
    assert_same(whole, tiny(out=parts, **changes))


RUN = """
import json, sys
from pathlib import Path
import torch
from unlogit.methods.biggan import BigGANConfig, DiscriminatorConfig, GeneratorConfig
from unlogit.training import TrainConfig
from unlogit.training.loop import train
torch.set_num_threads(1)
given = json.loads(sys.argv[1])
method = given["method"]
method["generator"] = GeneratorConfig(**method["generator"])
saved = method["discriminator"]
method["discriminator"] = DiscriminatorConfig(**saved | {k: tuple(saved[k]) for k in ("maps", "widths")})
method["betas"] = tuple(method["betas"])
given["method"] = BigGANConfig(**method)
given["out"], given["cache"] = Path(given["out"]), Path(given["cache"])
train(TrainConfig(**given))
"""


def train_alone(config: TrainConfig) -> None:
    torch.set_num_threads(1)
    trainer.STANDING_IMAGES = 16
    train(config)


def test_a_run_killed_at_any_moment_resumes_to_the_same_weights(tiny: Tiny, tmp_path: Path) -> None:
    changes = {"num_images": 192, "checkpoint_every": 16, "validate_every": 64}
    whole = tiny(out=tmp_path / "whole", **changes)
    killed = tiny(out=tmp_path / "killed", **changes)
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(whole)
    torch.set_num_threads(torch_threads)
    # Forked from a process that has imported torch: a start takes longer than the training.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["unlogit.training.loop"])
    checkpoints = Checkpoints(killed.out / "checkpoints")
    kills = 0
    for attempt in range(20):
        process = context.Process(target=train_alone, args=(killed,))
        before = {p.name for p in checkpoints.paths()}
        process.start()
        # Kill after some progress, at a moment that differs from attempt to attempt and may lie within a write.
        while process.is_alive() and {p.name for p in checkpoints.paths()} <= before:
            time.sleep(0.005)
        time.sleep(0.013 * attempt)
        killing = attempt < 4 and process.is_alive()
        if killing:
            process.kill()
            kills += 1
        process.join()
        assert checkpoints.load() is not None
        if not killing and process.exitcode == 0:
            break
    assert kills >= 2
    assert_same(whole, killed)
    lines = [json.loads(line)["images"] for line in (killed.out / "metrics.jsonl").read_text().splitlines()]
    assert lines == sorted(lines)
    assert lines == [json.loads(line)["images"] for line in (whole.out / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_keeps_the_precision_that_it_began_with(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    for measured, images in (("bf16", 16), ("fp32", 32)):
        monkeypatch.setattr("unlogit.training.loop.fastest_precision", lambda _, measured=measured: measured)
        training = Training(tiny(num_images=images, precision="auto"), torch.device("cpu"))
        training.run()
        assert training.precision == training.trainer.config.precision == "bf16"
        assert training.config.precision == "auto"
    assert open_inverter(str(tiny().out / "inverter")).facts["precision"] == "bf16"


def test_sigterm_saves_and_the_same_command_goes_on(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(num_images=100_000, checkpoint_every=100_000, log_every=16)
    given = json.dumps(asdict(config), default=str)
    process = subprocess.Popen([sys.executable, "-c", RUN, given], stderr=subprocess.PIPE, text=True)
    while not (config.out / "metrics.jsonl").exists() or not (config.out / "metrics.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "the same command resumes from there" in told
    state = Checkpoints(config.out / "checkpoints").load()
    assert state is not None
    assert 0 < state["images"] < 100_000


def test_two_processes_train_what_one_does(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Global batches, shifts, batch statistics and gradients over both, in parts; the rest is rounding."""
    monkeypatch.setattr("unlogit.methods.biggan.trainer.STANDING_IMAGES", 1_024)  # As in new processes.
    # In bf16 rounding alone would be of the size that is allowed below.
    one = tiny(out=tmp_path / "one", num_images=32, translation=True, precision="fp32")
    two = replace(one, out=tmp_path / "two", method=replace(one.method, micro_batch=2))
    alone, shared = launch(one, processes=1), launch(two, processes=2)
    # Each process evaluates its share, with standing statistics over both.
    for name in ("pixel_error", "layout_cosine", "logit_error", "diversity"):
        assert shared[name] == pytest.approx(alone[name], rel=2e-3), name
    first, second = weights(one), weights(two)
    for path in first:
        if path.startswith(("/generator", "/discriminator")):
            # Adam divides by the root of squared gradients, so that a tiny gradient's rounding is a step's size.
            difference = (first[path].float() - second[path].float()).abs()
            assert difference.mean() < 2e-4, path


def test_another_configuration_in_the_folder_is_refused(tiny: Tiny) -> None:
    train(tiny(num_images=16))
    with pytest.raises(UnlogitError, match="learning_rate_g: 0.0001 there, 0.001 given"):
        train(tiny(learning_rate_g=1e-3))


def test_a_loss_that_is_not_finite_stops_with_advice(tiny: Tiny) -> None:
    with pytest.raises(UnlogitError, match=r"not finite at \d+ images; .* lower learning rates"):
        train(tiny(learning_rate_g=1e30, learning_rate_d=1e30, num_images=480))


@pytest.fixture
def broken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that is NaN once, after 32 images."""
    step, times = BigGANTrainer.step, iter([True])

    def broken(self: BigGANTrainer) -> dict[str, torch.Tensor]:
        if self.images == 32 and next(times, False):
            with torch.no_grad():
                self.generator.last_bias.fill_(torch.nan)
        return step(self)

    monkeypatch.setattr(BigGANTrainer, "step", broken)


@pytest.mark.usefixtures("broken_once")
def test_a_run_that_breaks_goes_back_where_that_is_asked_for(tiny: Tiny, capfd: pytest.CaptureFixture[str]) -> None:
    config = tiny(rollback=1)
    train(config)
    told = [line for line in capfd.readouterr().err.splitlines() if "rollback" in line]
    assert len(told) == 1 and "not finite at 48 images: back to 32 images, learning rates times 0.5" in told[0]
    state = Checkpoints(config.out / "checkpoints").load()
    assert state is not None and state["images"] == 48 and state["rollbacks"] == 1
    assert state["optimiser_g"]["param_groups"][0]["lr"] == config.method.learning_rate_g / 2
    lines = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines if "loss_d" in line] == [16, 32, 48]
    assert [line["rollbacks"] for line in lines if "rollbacks" in line] == [1]


@pytest.mark.usefixtures("broken_once")
def test_weights_that_are_not_finite_are_never_saved(tiny: Tiny) -> None:
    config = tiny(log_every=1_000_000, validate_every=1_000_000, num_images=64)
    with pytest.raises(UnlogitError, match=r"weights not finite at 48 .*000000032.pt: the same command .*--rollback"):
        train(config)
    train(replace(config, rollback=1))


@pytest.fixture
def small_files() -> Iterator[Callable[[bool], None]]:
    """Switches the system's limit on the size of a file on, which stands for a full disk, and off."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda on: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000 if on else soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_the_run_goes_on_bit_for_bit(
    tiny: Tiny, tmp_path: Path, small_files: Callable[[bool], None]
) -> None:
    whole, parts = (tiny(out=tmp_path / name, num_images=32) for name in ("whole", "parts"))
    train(whole)
    train(replace(parts, num_images=16))
    small_files(True)
    with pytest.raises(UnlogitError, match=r"checkpoint .*000000032.pt' cannot be written .*MB free.*free disk space"):
        train(replace(parts, num_images=64, validate_every=1_000))
    small_files(False)
    assert [p.name for p in (parts.out / "checkpoints").iterdir()] == ["000000016.pt"]
    assert not list(parts.out.rglob("*.partial"))
    train(parts)
    assert_same(whole, parts)


def test_images_that_vanish_are_told(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, elsewhere = tmp_path / "images", tmp_path / "elsewhere"
    folder.mkdir()
    for i in range(48):
        Image.new("RGB", (32, 32), (5 * i, 0, 0)).save(folder / f"{i}.png")
    config = tiny(images=f"folder:{folder}", validate_every=1_000)
    step = BigGANTrainer.step

    def vanishing(self: BigGANTrainer) -> dict[str, torch.Tensor]:
        if self.images == 16:
            folder.rename(elsewhere)
            monkeypatch.setattr(BigGANTrainer, "step", step)
        return step(self)

    monkeypatch.setattr(BigGANTrainer, "step", vanishing)
    with pytest.raises(UnlogitError, match=r"folder:.*images"):
        train(config)
    with pytest.raises(UnlogitError, match="is not a folder"):
        train(config)
    elsewhere.rename(folder)
    (folder / "7.png").rename(tmp_path / "7.png")
    with pytest.raises(UnlogitError, match="holds 47 images, and held 48 when the run was saved"):
        train(config)
    (tmp_path / "7.png").rename(folder / "7.png")
    train(config)


def test_the_best_inverter_is_kept(tiny: Tiny) -> None:
    config = tiny(num_images=48, validate_every=16)
    train(config)
    lines = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    best = min((line["val/logit_error"], line["images"]) for line in lines if "val/logit_error" in line)
    assert open_inverter(str(config.out / "best")).facts["images_seen"] == best[1]
    assert open_inverter(str(config.out / "inverter")).facts["images_seen"] == 48


def test_the_warm_start_learns_the_layout(tiny: Tiny) -> None:
    config = tiny(num_images=480, warm_start=480, validate_every=480, log_every=48)
    train(config)
    lines = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    layout = [line["layout"] for line in lines if "layout" in line]
    assert layout[-1] < 0.8 * layout[0]


def test_deviations_are_told(tiny: Tiny, projected: DiscriminatorConfig) -> None:
    assert tiny().deviations == ()
    generator = GeneratorConfig(size=32, channels=4, noise=16, attention=None, condition_first=True)
    aided = tiny(discriminator=projected, warm_start=8, layout_weight=1.0, generator=generator)
    told = ("projected discriminator", "warm start", "layout term", "representation in the first layer")
    assert aided.deviations == told


def test_the_label_only_floor_is_the_same_training_on_one_hots(tiny: Tiny) -> None:
    config = tiny(layer="label", num_images=16)
    train(config)
    inverter = open_inverter(str(config.out / "inverter"))
    raw = inverter.representation.raw(torch.rand(3, 3, 32, 32))
    assert torch.equal(raw.sum(1), torch.ones(3)) and set(raw.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(inverter.representation.standardise(raw), raw)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classifier": "small:nowhere"}, "nowhere"),
        ({"images": "scenes:colour=red"}, "colour"),
        ({"images": "pictures/"}, "no source prefix"),
        ({"generator": GeneratorConfig(size=32, channels=4, noise=16, attention=5)}, "image size 5"),
    ],
)
def test_wrong_sources_are_told_and_nothing_is_left(tiny: Tiny, changes: dict[str, object], message: str) -> None:
    config = tiny(**changes)
    with pytest.raises(UnlogitError, match=message):
        train(config)
    assert not config.out.exists()


def test_settings_out_of_range_are_told(tiny: Tiny) -> None:
    with pytest.raises(UnlogitError, match="shared fakes with d_steps 2"):
        tiny(shared_fakes=True)
    with pytest.raises(UnlogitError, match="batch 0: must be at least 1"):
        tiny(batch=0)
