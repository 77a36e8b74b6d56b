"""What tracking services are sent, and what happens where one is not installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from unlogit.errors import UnlogitError
from unlogit.training import TrainConfig
from unlogit.training.loop import train
from unlogit.training.run_folder import plain
from unlogit.training.tracking import check_installed, open_tracker

Tiny = Callable[..., TrainConfig]


class Service(ModuleType):
    """Records the documented calls that wandb and trackio share."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: list[tuple[str, Any]] = []

    def init(self, *, project: str, name: str, group: str, config: dict[str, Any]) -> None:
        self.calls.append(("init", (project, name, group, config)))

    def log(self, values: dict[str, Any], step: int) -> None:
        self.calls.append(("log", (values, step)))

    def Image(self, path: str) -> tuple[int, int]:
        with Image.open(path) as grid:
            return grid.size

    def finish(self) -> None:
        self.calls.append(("finish", None))


@pytest.fixture(params=["wandb", "trackio"])
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Service:
    fake = Service(request.param)
    monkeypatch.setitem(sys.modules, request.param, fake)
    return fake


def test_a_service_is_sent_configuration_metrics_and_samples(service: Service, tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(track=service.__name__)
    tracker = open_tracker(config, 0)
    assert tracker is not None
    grid = tmp_path / "grid.png"
    Image.new("RGB", (6, 4)).save(grid)
    tracker.log(32, {"loss_d": 0.5})
    tracker.sample(32, grid)
    tracker.close()
    name = "/".join(config.out.parts[-2:])
    assert service.calls == [
        ("init", ("unlogit", name, name, plain(config))),
        ("log", ({"loss_d": 0.5}, 32)),
        ("log", ({"samples": (6, 4)}, 32)),
        ("finish", None),
    ]


def test_a_run_sends_what_it_writes(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", fake := Service("trackio"))
    config = tiny(track="trackio")
    figures = train(config)
    logged = [call for kind, call in fake.calls if kind == "log"]
    assert logged[-1][1] == config.num_images
    sent = {name: value for values, _ in logged for name, value in values.items()}
    assert {f"val/{name}": value for name, value in figures.items()}.items() <= sent.items()
    assert {"loss_d", "loss_g", "samples"} <= sent.keys()
    assert fake.calls[-1][0] == "finish"


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_missing_package_is_one_line_with_the_command_that_installs_it(
    name: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    config = tiny(track=name)
    with pytest.raises(UnlogitError, match=rf"'--track {name}' needs {name}: pip install 'unlogit\[track\]'"):
        train(config)
    assert not config.out.exists()
    check_installed(None)


def test_a_service_that_refuses_is_one_line(service: Service, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise RuntimeError("no API key:\nlog in first")

    monkeypatch.setattr(service, "init", refuse)
    with pytest.raises(UnlogitError, match=f"--track {service.__name__} could not start: no API key: log in first"):
        open_tracker(tiny(track=service.__name__), 0)


def test_tensorboard_has_metrics_and_samples(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="no tensorboard: pip install 'unlogit[track]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny(track="tensorboard")
    tracker = open_tracker(config, 0)
    assert tracker is not None
    grid = tmp_path / "grid.png"
    Image.new("RGB", (6, 4)).save(grid)
    tracker.log(32, {"loss_d": 0.5})
    tracker.sample(32, grid)
    tracker.close()
    events = EventAccumulator(str(config.out / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss_d")] == [(32, 0.5)]
    assert [(event.width, event.height) for event in events.Images("samples")] == [(6, 4)]
