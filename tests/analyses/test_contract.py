"""What every registered analysis must keep, on inverters of random weights."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

import matplotlib.figure
import pytest

from unlogit import analyses
from unlogit.analyses import Evidence, Figure, Finding, Record, Result, Table
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, open_images
from unlogit.methods import Inverter
from unlogit.methods.biggan import BigGANConfig
from unlogit.statistics import Estimate
from unlogit.training import TrainConfig
from unlogit.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder as the training writes it."""
    folder: Path = tmp_path_factory.mktemp("runs") / "standard"
    record = RunFolder(folder)
    record.begin(TrainConfig("scenes:", "scenes:test", "small:x", folder, method=BigGANConfig(warm_start=100)), 0)
    for step in range(1, 6):
        record.log(100 * step, {"loss_d": -1 / step, "loss_g": 1 / step, "layout": 0.1 / step})
        record.log(100 * step, {"val/layout_cosine": 0.1 * step, "val/agreement": 0.05 * step})
    return folder


@pytest.fixture(scope="module")
def evidence(tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter], run_folder: Path) -> Evidence:
    others = {"other scenes": open_images("scenes:count=20,seed=1")}
    return Evidence(tiny_scenes, tiny_inverters, runs={"standard": run_folder}, others=others)


FEW: dict[str, dict[str, Any]] = {
    "quality": {"metrics": ("psnr",), "draws": 2},
    "factors": {"training": 200, "epochs": 1},
    "recognition": {"networks": ("packaged:efficientnet_lite1?size=32",), "images": 40},
}
"""Smaller configurations of those analyses whose networks take their time."""


@pytest.fixture(scope="module")
def results(evidence: Evidence) -> dict[str, list[Result]]:
    return {n: list(analyses.get(n).run(analyses.get(n).Config(**FEW.get(n, {})), evidence)) for n in analyses.names()}


def test_the_folder_is_the_registry() -> None:
    assert {"reconstruct", "quality", "training"} <= set(analyses.names())
    assert analyses.names()[0] == "reconstruct"
    with pytest.raises(UnlogitError, match=r"unknown analysis 'qualty'.*Did you mean 'quality'"):
        analyses.get("qualty")


@pytest.mark.parametrize("name", analyses.names())
def test_an_analysis_keeps_the_contract(
    name: str, results: dict[str, list[Result]], evidence: Evidence, tmp_path: Path
) -> None:
    module = analyses.get(name)
    assert module.TITLE
    assert module.QUESTION.endswith("?")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(module.Config(), dataclasses.fields(module.Config)[0].name, 1)
    found = results[name]
    assert found
    for kind in (Figure, Table):
        stems = [r.name for r in found if isinstance(r, kind)]
        assert len(stems) == len(set(stems))
    numbers = [(r.metric, r.inverter, r.at) for r in found if isinstance(r, Record)]
    assert len(numbers) == len(set(numbers))
    for result in found:
        match result:
            case Figure():
                assert isinstance(result.figure, matplotlib.figure.Figure)
                assert result.title
                assert result.caption
                for form in ("png", "svg"):
                    with io.BytesIO() as buffer:
                        result.figure.savefig(buffer, format=form, dpi=60)
                        assert buffer.tell() > 2_000
                    result.figure.set_layout_engine("none")  # Once laid out is enough.
            case Table():
                assert result.rows
                for estimate in (c for row in result.rows for c in row if isinstance(c, Estimate)):
                    check(estimate, len(evidence))
            case Record():
                assert result.inverter in evidence.inverters
                check(result.estimate, len(evidence))
            case Finding(text):
                assert text.endswith(".")
                assert "nan" not in text


def check(estimate: Estimate, most: int) -> None:
    assert all(map(math.isfinite, (estimate.value, estimate.low, estimate.high)))
    assert estimate.low <= estimate.value <= estimate.high
    assert 0 < estimate.n <= most


def test_numbers_can_be_written_as_json(results: dict[str, list[Result]]) -> None:
    numbers = [dataclasses.asdict(r) for found in results.values() for r in found if isinstance(r, Record)]
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers


def test_training_has_nothing_to_say_without_runs(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter], tmp_path: Path
) -> None:
    module = analyses.get("training")
    assert not list(module.run(module.Config(), Evidence(tiny_scenes, tiny_inverters)))
    with pytest.raises(UnlogitError, match=r"has no config\.json"):
        list(module.run(module.Config(), Evidence(tiny_scenes, tiny_inverters, runs={"a": tmp_path})))
    (tmp_path / "config.json").write_text('{"format": 1}')
    with pytest.raises(UnlogitError, match=r"not one of 'unlogit train' \(KeyError: 'classifier'\)"):
        list(module.run(module.Config(), Evidence(tiny_scenes, tiny_inverters, runs={"a": tmp_path})))
