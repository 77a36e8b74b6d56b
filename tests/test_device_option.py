"""Every command that computes has --device, and an unknown one is one line before anything is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from unlogit.classifier_training import FitConfig
from unlogit.errors import UnlogitError
from unlogit.methods import TrainConfig
from unlogit.reconstruct import ReconstructConfig, reconstruct
from unlogit.report.command import AnalyseConfig
from unlogit.training.bench_config import BenchConfig
from unlogit.web.explorer.command import ExploreConfig
from unlogit.web.study.create import CreateConfig


@pytest.mark.parametrize(
    "config", [TrainConfig, FitConfig, BenchConfig, ReconstructConfig, AnalyseConfig, ExploreConfig, CreateConfig]
)
def test_a_command_that_computes_has_the_option(config: type) -> None:
    assert next(field.default for field in dataclasses.fields(config) if field.name == "device") == "auto"


def test_an_unknown_device_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"")
    with pytest.raises(UnlogitError, match="--device 'tpu': must be"):
        reconstruct(ReconstructConfig(photos=(photo,), out=tmp_path / "out", device="tpu"))
    assert not (tmp_path / "out").exists()
