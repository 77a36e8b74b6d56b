"""The command line of `unlogit train`: a method's run, and the number of processes."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from unlogit.methods import TrainConfig, config_of
from unlogit.settings import Checked, Count


@dataclasses.dataclass(frozen=True)
class Launch(Checked):
    """Train an inverter for a frozen classifier. Run the same command again to resume.

    The defaults match the paper, but for the batch, which a single device holds, and take days on one GPU.
    """

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    processes: Count = 1
    """Number of processes on this machine: one per GPU, or on a CPU with few cores one per core. A resumed run may use
    another number."""


def command(method: str) -> type[Launch]:
    """Return the command line of a method, with its own options; raise `UnlogitError` for an unknown one."""
    own = config_of(method)
    options = ("method", Annotated[own, tyro.conf.arg(name="")], dataclasses.field(default_factory=own))
    config = dataclasses.make_dataclass("TrainConfig", [options], bases=(TrainConfig,), frozen=True)
    config.__doc__ = TrainConfig.__doc__
    run = ("config", Annotated[config, tyro.conf.arg(name="")])
    launch = dataclasses.make_dataclass("Launch", [run], bases=(Launch,), frozen=True)
    launch.__doc__ = f"{Launch.__doc__}\n\n    Method: {own.__doc__}"
    return launch


def launch(config: TrainConfig, processes: int = 1) -> dict[str, float]:
    """Run `train(config)` on several processes of this machine, as `unlogit.runtime.launch` does it."""
    from unlogit.classifiers._module import check_processes
    from unlogit.runtime import launch as shared
    from unlogit.training.loop import train

    if not isinstance(config.classifier, str):
        check_processes(processes)
    # Of the class itself, which another process can import.
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return shared.launch(train, TrainConfig(**values), processes)
