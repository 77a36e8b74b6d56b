"""Several processes: what they are told, and how their mistakes come back. What they compute is test_loop's."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

import pytest
from torch import multiprocessing

from unlogit.errors import UnlogitError
from unlogit.methods import TrainConfig
from unlogit.runtime.checkpoint import Checkpoints
from unlogit.training.launch import launch


@pytest.fixture
def config(tiny: Callable[..., TrainConfig]) -> TrainConfig:
    """A run that would take hours."""
    return tiny(num_images=1_000_000, validate_every=1_000_000)


def test_a_mistake_comes_back_as_itself(tmp_path: Path) -> None:
    # torch sets its own cache folders when something first imports its compiler.
    before = environment()
    with pytest.raises(UnlogitError, match="classifier 'small:nowhere': no config.json in 'nowhere'"):
        launch(TrainConfig("scenes:", "scenes:test", "small:nowhere", tmp_path / "out"), processes=2)
    assert environment() == before


def environment() -> dict[str, str]:
    """Environment variables but those of torch's compiler."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TORCHINDUCTOR_", "TRITON_"))}


def children(before: list[BaseProcess]) -> list[BaseProcess]:
    """Processes that were started since: other tests of this worker may have left theirs."""
    return [process for process in multiprocessing.active_children() if process not in before]


def test_a_killed_process_ends_them_all_with_advice(config: TrainConfig) -> None:
    killed: list[float] = []
    before = multiprocessing.active_children()

    def kill_one() -> None:
        while not list((config.out / "checkpoints").glob("*.pt")):
            time.sleep(0.1)
        killed.append(time.monotonic())
        children(before)[0].kill()

    Thread(target=kill_one, daemon=True).start()
    with pytest.raises(UnlogitError, match=r"process \d of 2 was killed .*: the same command resumes from the last"):
        launch(config, processes=2)
    assert time.monotonic() - killed[0] < 15
    assert not children(before)
    state = Checkpoints(config.out / "checkpoints").load()
    assert state is not None
    figures = launch(replace(config, num_images=state["images"] + 16), processes=1)
    assert "agreement" in figures


def test_under_torchrun_nothing_is_launched(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrainConfig] = []
    monkeypatch.setattr("unlogit.training.loop.train", lambda given: seen.append(given) or {"agreement": 1.0})
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launch(config, processes=2) == {"agreement": 1.0}
    assert seen == [config]


def test_there_is_at_least_one_process(config: TrainConfig) -> None:
    with pytest.raises(UnlogitError, match="processes 0: must be at least 1"):
        launch(config, processes=0)


def test_processes_that_are_stopped_while_they_start_are_one_line(config: TrainConfig) -> None:
    before = multiprocessing.active_children()

    def stop() -> None:
        while not children(before):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=stop, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        launch(config, processes=2)
    assert not children(before)
    assert not config.out.exists()
