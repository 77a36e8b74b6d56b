"""Every command with bad values: exit code 2, one line on stderr, nothing left in the output folder."""

from __future__ import annotations

import dataclasses
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from unlogit import cli
from unlogit.classifier_training import FitLaunch
from unlogit.reconstruct import ReconstructConfig
from unlogit.settings import _bounds
from unlogit.training.bench import BenchConfig
from unlogit.training.launch import Launch
from unlogit.web.explorer.command import ExploreConfig
from unlogit.web.study.command import COMMANDS as STUDY

REQUIRED = {
    "classify": (FitLaunch, ["--out", "out"]),
    "train": (Launch, ["--images", "scenes:", "--held-out", "scenes:test", "--classifier", "small:c", "--out", "out"]),
    "bench": (BenchConfig, []),
    "reconstruct": (ReconstructConfig, ["photo.png", "--out", "out"]),
    "explore": (ExploreConfig, []),
    "study create": (STUDY["create"][0], ["a", "b", "--images", "scenes:test"]),
    "study serve": (STUDY["serve"][0], []),
}
"""By command, its configuration and the options that have no default; nothing that they name is opened."""


def options(config: type, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Each numeric option, and how many values it takes."""
    for field in dataclasses.fields(config):
        hint = get_type_hints(config)[field.name]
        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            yield from options(hint, prefix if field.name == "config" else f"{prefix}{field.name}.")
        elif _bounds(config)[field.name][0] is not None:
            count = 2 if field.name == "betas" else 1
            yield f"--{prefix}{field.name}".replace("_", "-"), count


NUMERIC = [(command, name, count) for command, (config, _) in REQUIRED.items() for name, count in options(config)]


def refuse(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """Run a command that must fail with one line; return the line."""
    try:
        code: Any = cli.main([str(arg) for arg in args])
    except SystemExit as stop:
        code = stop.code
    *stages, error = capsys.readouterr().err.splitlines(keepends=True)
    assert code == 2, (args, code, error)
    assert error.startswith("unlogit: error: "), (args, error)
    assert all(line.endswith(" ...\n") for line in stages), (args, stages)
    assert not Path("out").exists(), args
    return error


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with something at photo.png."""
    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(b"no image")
    return tmp_path


@pytest.mark.parametrize(("command", "option", "count"), NUMERIC)
def test_a_number_out_of_range(command: str, option: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(f"{command} {option}")
    always = ["nan", "abc", "-1000000000000000000000000000000"]
    for value in chance.sample(always, 2):
        line = refuse(capsys, *command.split(), *REQUIRED[command][1], option, *[value] * count)
        assert option.lstrip("-").split(".")[-1].replace("-", "_") in line.replace("-", "_")


@pytest.mark.parametrize("command", REQUIRED)
def test_an_unknown_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--no-such-option" in refuse(capsys, *command.split(), *REQUIRED[command][1], "--no-such-option", "3")


SOURCES = ["", ":", "nothing:x", "folder:missing", "folder:photo.png", "parquet:photo.png", "scenes:count=-1"]
CLASSIFIERS = ["", ":", "nothing:x", "small:missing", "small:photo.png", "small:.", "fitted:.", "timm:nothing"]


@pytest.mark.parametrize("spec", SOURCES)
def test_images_that_cannot_be_opened(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(capsys, "list", "images", spec)
    refuse(capsys, "classify", "--images", spec, "--out", "out")
    refuse(capsys, *["train", "--held-out", "scenes:test", "--classifier", "small:c", "--out", "out", "--images"], spec)
    refuse(capsys, "analyse", "a", "--images", spec, "--out", "out")


@pytest.mark.parametrize("spec", CLASSIFIERS)
def test_classifiers_that_cannot_be_opened(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(capsys, "list", "layers", spec)
    refuse(capsys, "reconstruct", "photo.png", "--out", "out", "--method", "mahendran", "--classifier", spec)


@pytest.mark.parametrize("name", ["missing", "photo.png", ".", "pipe"])
def test_inverters_that_cannot_be_opened(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe")
    refuse(capsys, "reconstruct", "photo.png", "--out", "out", "--inverter", name)
    refuse(capsys, "analyse", name, "--images", "scenes:test", "--out", "out")


@pytest.mark.parametrize("name", ["missing.png", ".", "pipe", "/dev/zero", "photo.png/x"])
def test_photos_that_are_no_files(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe")
    refuse(capsys, "reconstruct", name, "--out", "out")


@pytest.mark.parametrize("name", ["missing", "photo.png", ".", "nothing://x", "sqlite:///missing/x/y"])
def test_databases_that_cannot_be_opened(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(capsys, "study", "results", "--database", name, "--out", "out")
    refuse(capsys, "study", "table", name, "--out", "out")
    refuse(capsys, "study", "observe", "--database", name)


def test_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for command in (["explore", "inverter"], ["study", "serve"]):
            assert "cannot listen" in refuse(capsys, *command, "--port", taken.getsockname()[1])
