"""The command line of `unlogit train`: a method's run, and the number of processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, Literal, get_type_hints

import tyro

from unlogit.arguments import parse
from unlogit.errors import UnlogitError
from unlogit.methods import TrainConfig, config_of, presets_of
from unlogit.runtime.progress import announce_torch
from unlogit.settings import Checked, Count

CPU_PRESET, GPU_PRESET = "cpu-64", "gpu-64"
"""Default presets of a machine without a CUDA device and with one."""
AUTO, NO_PRESET = "auto", "none"


@dataclasses.dataclass(frozen=True)
class Launch(Checked):
    """Train an inverter for a frozen classifier. Run the same command again to resume."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    processes: Count = 1
    """Number of processes on this machine: one per GPU, or on a CPU with few cores one per core. A resumed run can use
    another number."""


@dataclasses.dataclass(frozen=True)
class PresetLaunch(Launch):
    """Train an inverter by a method that has presets."""

    preset: str = AUTO
    """Named settings, which explicit options override. "none" uses the defaults shown without a preset; "auto" is
    "gpu-64" on a machine with a CUDA GPU, else "cpu-64". --help together with a preset shows its values as the
    defaults."""


def command(method: str, preset: str | None = None) -> type[Launch]:
    """Return the command line of a method, with its own options and the defaults of a preset.

    Raises:
        UnlogitError: an unknown method.
    """
    own, presets = config_of(method), presets_of(method)
    settings: dict[str, Any] = presets[preset].settings if preset in presets else {}
    default = settings.pop("method", own())
    hints = get_type_hints(TrainConfig, include_extras=True)
    options = [(name, hints[name], value) for name, value in settings.items()]
    options.append(("method", Annotated[own, tyro.conf.arg(name="")], default))
    config = dataclasses.make_dataclass("TrainConfig", options, bases=(TrainConfig,), frozen=True)
    config.__doc__ = TrainConfig.__doc__
    fields: list[Any] = [("config", Annotated[config, tyro.conf.arg(name="")])]
    about = [f"{Launch.__doc__}\n\n    Method: {own.__doc__}"]
    if presets:
        fields.append(("preset", Literal[AUTO, *presets, NO_PRESET], preset if preset in presets else AUTO))
        about += [f"Presets: {'; '.join(f'{name}: {one.summary}' for name, one in presets.items())}."]
    launch = dataclasses.make_dataclass("Launch", fields, bases=(PresetLaunch if presets else Launch,), frozen=True)
    launch.__doc__ = "\n\n".join(about)
    return launch


def read(method: str, args: Sequence[str]) -> tuple[Launch, str]:
    """Read the arguments of `unlogit train METHOD`, by the preset that they name or the machine's default.

    An existing run resumes with its own preset.

    Returns:
        the run, and a heading for its log, which is empty where no preset was chosen automatically.

    Raises:
        UnlogitError: an option is unknown or missing, or a value is wrong.
        SystemExit: help was requested and has been printed.
    """

    def parsed(preset: str | None) -> Launch:
        return parse(command(method, preset), f"unlogit train {method}", args)

    presets = presets_of(method)
    if (named := _named(args)) not in (None, AUTO) or not presets:
        return parsed(named), ""
    # Mistakes are reported before torch is imported, which knows whether there is a GPU.
    problems = []
    for preset in (None, CPU_PRESET):
        try:
            config = parsed(preset).config
        except UnlogitError as error:
            problems.append(error)
    if len(problems) == 2:
        raise problems[0]
    announce_torch()
    from unlogit.runtime.device import pick_device
    from unlogit.training.run_folder import CONFIG, RunFolder

    gpu = pick_device(config.device).type == "cuda"
    usual = GPU_PRESET if gpu else CPU_PRESET
    if (config.out / CONFIG).is_file():
        for preset in dict.fromkeys((usual, None, *presets)):
            with suppress(UnlogitError):
                resumed = parsed(preset)
                RunFolder(resumed.config.out).check(resumed.config)
                return resumed, ""
    reason = f"since there is {'a' if gpu else 'no'} CUDA GPU"
    return parsed(usual), f"preset {usual}, {reason} ({presets[usual].summary}); --preset chooses another"


def _named(args: Sequence[str]) -> str | None:
    """Return the value of --preset, or None without it."""
    for position, arg in enumerate(args):
        if arg == "--preset":
            return args[position + 1] if position + 1 < len(args) else ""
        if arg.startswith("--preset="):
            return arg.partition("=")[2]
    return None


def launch(config: TrainConfig, processes: int = 1, heading: str = "") -> dict[str, float]:
    """Run `train(config)` on several processes of this machine, as `unlogit.runtime.launch` does it.

    `heading` is a line that begins the log.
    """
    announce_torch()
    from unlogit.classifiers._module import check_processes
    from unlogit.runtime import launch as shared
    from unlogit.training.loop import train

    if not isinstance(config.classifier, str):
        check_processes(processes)
    # An instance of the class itself, which another process can import.
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    work = partial(train, heading=heading) if heading else train
    return shared.launch(work, TrainConfig(**values), processes, config.device)
