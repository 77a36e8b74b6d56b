"""A training as the command line knows it: a run, and on how many processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from unlogit import launch as shared
from unlogit.classifiers._module import check_processes
from unlogit.settings import Checked, Count
from unlogit.training.config import TrainConfig
from unlogit.training.loop import train


@dataclass(frozen=True)
class Launch(Checked):
    """A run, and on how many processes."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    processes: Count = 1
    """Processes on this machine: one a GPU, or on a CPU with few cores one a core. A resumed run may use another
    number."""


def launch(config: TrainConfig, processes: int = 1) -> dict[str, float]:
    """`train(config)` shared out over processes of this machine, as `unlogit.launch` does it."""
    if not isinstance(config.classifier, str):
        check_processes(processes)
    return shared.launch(train, config, processes)
