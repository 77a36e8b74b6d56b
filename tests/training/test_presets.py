"""Presets: what a command trains by where it names one, where it names none, and where its run exists."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unlogit.errors import UnlogitError
from unlogit.methods import TrainConfig
from unlogit.methods.biggan import BigGANConfig
from unlogit.methods.biggan.presets import PRESETS
from unlogit.training.launch import CPU_PRESET, GPU_PRESET, read
from unlogit.training.run_folder import RunFolder

NEEDED = ("--images", "scenes:", "--held-out", "scenes:test", "--classifier", "small:c", "--out", "run")


@pytest.fixture(autouse=True)
def cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a GPU, and an empty working folder."""
    monkeypatch.setattr("unlogit.runtime.device.pick_device", lambda *_: torch.device("cpu"))
    monkeypatch.chdir(tmp_path)


def config(*args: str, method: str = "biggan") -> TrainConfig:
    return read(method, (*NEEDED, *args))[0].config


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_gives_the_defaults_and_options_override_them(name: str) -> None:
    settings = PRESETS[name].settings
    given = config("--preset", name)
    assert {field: getattr(given, field) for field in settings} == settings
    other = config(f"--preset={name}", "--batch", "8", "--generator.channels", "5")
    assert (other.batch, other.method.generator.channels) == (8, 5)
    assert other.num_images == given.num_images
    assert other.method.discriminator == given.method.discriminator


def test_help_shows_a_preset_s_values(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("biggan", ["--preset", "cpu-32", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--generator.channels INT" in said
    assert "(default: 12)" in said and "(default: 18000)" in said and "(default: cpu-32)" in said


def test_without_a_gpu_and_a_name_it_is_the_cpu_s_preset_and_the_log_says_so() -> None:
    assert config().method == config("--preset", "auto").method == PRESETS[CPU_PRESET].method
    assert read("biggan", NEEDED)[1].startswith(f"preset {CPU_PRESET}, since there is no CUDA GPU")
    assert config("--preset", "none").method == BigGANConfig()
    assert not read("biggan", (*NEEDED, "--preset", CPU_PRESET))[1]
    # An option that the plain defaults do not allow.
    assert config("--shared-fakes").method.shared_fakes


def test_a_gpu_trains_by_its_preset_and_the_log_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlogit.runtime.device.pick_device", lambda *_: torch.device("cuda", 0))
    assert config().method == PRESETS[GPU_PRESET].method
    assert read("biggan", NEEDED)[1].startswith(f"preset {GPU_PRESET}, since there is a CUDA GPU")


@pytest.mark.parametrize("name", ["none", "paper-64", CPU_PRESET])
def test_a_run_goes_on_with_the_preset_that_it_began_with(name: str) -> None:
    begun = config("--preset", name, "--batch", "8")
    RunFolder(begun.out).begin(begun, 0)
    resumed, heading = read("biggan", (*NEEDED, "--batch", "8"))
    assert (resumed.config.method, resumed.config.batch, heading) == (begun.method, 8, "")


def test_an_unknown_preset_and_a_method_without_presets() -> None:
    with pytest.raises(UnlogitError, match=r"invalid choice 'cpu-16'.*'auto', 'cpu-32', 'cpu-64'"):
        config("--preset", "cpu-16")
    with pytest.raises(UnlogitError, match="--preset"):
        config("--preset", "cpu-32", method="flow")
    with pytest.raises(UnlogitError, match="batch 0: must be at least 1"):
        config("--batch", "0")


@pytest.mark.parametrize("name", PRESETS)
def test_the_documentation_has_the_numbers_of_a_preset(name: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
    run = PRESETS[name].run
    assert f"| {run['batch']:,} | {run['num_images']:,} |" in row
