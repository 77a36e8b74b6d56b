"""A damaged run folder resumes, or is an error of one line: files of it are cut, mutated and exchanged at random."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unlogit.errors import UnlogitError
from unlogit.training import TrainConfig
from unlogit.training.loop import Training, train

FILES = ("config.json", "metrics.jsonl", "checkpoints/000000016.pt")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


@pytest.fixture
def run(tiny: Callable[..., TrainConfig]) -> TrainConfig:
    config = tiny(num_images=16, validate_every=16, num_validation_images=4, recognition=())
    train(config)
    return config


def resume(config: TrainConfig) -> None:
    """Resume, for one step more, a run that may be damaged."""
    try:
        Training(config, torch.device("cpu"))
    except UnlogitError as error:
        assert "\n" not in str(error)


def fuzzed(examples: int) -> Callable[[Any], Any]:
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=checks)


@fuzzed(12)
@given(file=st.sampled_from(FILES), position=st.floats(0, 1), content=st.binary(max_size=40), cut=st.booleans())
def test_bytes(run: TrainConfig, tmp_path: Path, file: str, position: float, content: bytes, cut: bool) -> None:
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run.out, copy)
    data = (copy / file).read_bytes()
    at = int(position * len(data))
    (copy / file).write_bytes(data[:at] + content + (b"" if cut else data[at + len(content) :]))
    resume(TrainConfig(**{**vars(run), "out": copy, "num_images": 24}))


@fuzzed(24)
@given(
    key=st.sampled_from(("images", "precision", "config", "fingerprints", "generator", "shift", "rollbacks", "source")),
    value=VALUES,
    drop=st.booleans(),
)
def test_keys_of_a_checkpoint(run: TrainConfig, tmp_path: Path, key: str, value: object, drop: bool) -> None:
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run.out, copy)
    path = copy / FILES[2]
    state = torch.load(path, weights_only=True)
    state.pop(key, None)
    if not drop:
        state[key] = value
    torch.save(state, path)
    resume(TrainConfig(**{**vars(run), "out": copy, "num_images": 24}))


@fuzzed(12)
@given(key=st.sampled_from(("images", "seconds", "val/logit_error", "loss_d")), value=VALUES)
def test_values_of_metrics(run: TrainConfig, tmp_path: Path, key: str, value: object) -> None:
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run.out, copy)
    lines = [json.loads(line) | {key: value} for line in (copy / FILES[1]).read_text().splitlines()]
    (copy / FILES[1]).write_text("".join(json.dumps(line) + "\n" for line in lines))
    resume(TrainConfig(**{**vars(run), "out": copy, "num_images": 24}))
