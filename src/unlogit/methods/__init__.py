"""Every way to invert a representation, one folder or file per method, and what they share.

A trainable method is a folder with config.py (`CONFIG`), trainer.py (`TRAINER`) and inverter.py (`INVERTER`). A method
that needs no training is a file with `open_source`, opened as METHOD:CLASSIFIER?option=value.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from unlogit import registry
from unlogit.errors import UnlogitError, did_you_mean, unknown
from unlogit.files import expand_user
from unlogit.lazy import exports
from unlogit.methods._config import MethodConfig, Sight
from unlogit.methods._train_config import SCORES, TrainConfig
from unlogit.trust import named_by, trusting

if TYPE_CHECKING:
    from torch import nn

    from unlogit.methods._cost import Cost, cost
    from unlogit.methods._data import TrainingData
    from unlogit.methods._inverter import Inverter
    from unlogit.methods._trained import SAVED, LearnedInverter
    from unlogit.methods._trainer import Trainer
    from unlogit.methods.biggan.inverter import GeneratorInverter
    from unlogit.methods.biggan.presets import Preset
    from unlogit.methods.decoder.inverter import DecoderInverter
    from unlogit.methods.flow.inverter import FlowInverter

# What needs torch is imported at first use.
__getattr__ = exports(
    __name__,
    {
        "Cost": "_cost",
        "DecoderInverter": "decoder.inverter",
        "FlowInverter": "flow.inverter",
        "GeneratorInverter": "biggan.inverter",
        "Inverter": "_inverter",
        "LearnedInverter": "_trained",
        "SAVED": "_trained",
        "Trainer": "_trainer",
        "TrainingData": "_data",
        "cost": "_cost",
    },
)

__all__ = [
    "DEFAULT_INVERTER",
    "SAVED",
    "SCORES",
    "Cost",
    "DecoderInverter",
    "FlowInverter",
    "GeneratorInverter",
    "Inverter",
    "LearnedInverter",
    "MethodConfig",
    "Sight",
    "TrainConfig",
    "Trainer",
    "TrainingData",
    "called",
    "config_of",
    "cost",
    "known",
    "open_inverter",
    "presets_of",
    "trainable",
    "trainer_of",
    "untrained",
]

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
"""A name on the Hugging Face Hub, OWNER/NAME."""
WEIGHTS = Path(__file__).parents[1] / "weights"
KINDS = {"generator": "biggan"}
"""Folder of a kind of saved inverter, where the two differ."""

DEFAULT_INVERTER = "efficientnet_lite0"
"""The inverter that commands use where none is named."""


def trainable() -> list[str]:
    """Return the names of the trainable methods."""
    return [name for name in registry.names(__name__) if (Path(__file__).parent / name / "trainer.py").exists()]


def config_of(name: str) -> type[MethodConfig]:
    """Return the configuration class of a trainable method; raise `UnlogitError` for an unknown one."""
    if name not in (names := trainable()):
        raise unknown("method", name, names)
    config: type[MethodConfig] = importlib.import_module(f"{__name__}.{name}.config").CONFIG
    return config


def presets_of(name: str) -> dict[str, Preset]:
    """Return the presets of a trainable method; a method need not have any."""
    if not (Path(__file__).parent / name / "presets.py").exists():
        return {}
    presets: dict[str, Preset] = importlib.import_module(f"{__name__}.{name}.presets").PRESETS
    return presets


def trainer_of(config: MethodConfig) -> type[Trainer[MethodConfig]]:
    """Return the trainer of a method's configuration."""
    trainer: type[Trainer[MethodConfig]] = importlib.import_module(f"{__name__}.{config.NAME}.trainer").TRAINER
    return trainer


def known() -> list[str]:
    """Return the names of the trained inverters that come with the package."""
    return sorted(p.parent.name for p in WEIGHTS.glob("*/config.json"))


def untrained() -> list[str]:
    """Return the names of the methods that need no training, opened as METHOD:CLASSIFIER?option=value."""
    return [name for name in registry.names(__name__) if name not in trainable()]


def open_inverter(name: str | Path, trust_code: bool = False, *, classifier: str | nn.Module | None = None) -> Inverter:
    """Open an inverter: a packaged one, a folder, one of the Hugging Face Hub, or a method that needs no training.

    Such a method is written as `engstrom:small:runs/c?layer=penultimate&steps=200`.
    Raises `UnlogitError` where `name` is none of these, or something that it names cannot be opened.

    Args:
        name: such as efficientnet_lite0, runs/a/inverter, owner/name on the Hub, or
            nearest:[packaged:efficientnet_lite0?size=128]?images=scenes:. A local folder comes before the Hub; a name
            whose first part is a local folder is never looked up on the Hub.
        trust_code: whether a file that is opened may name a classifier that runs code (`python:`). What `name` itself
            names is the caller's own and needs no permission; nothing from the Hub may.
        classifier: the module that the inverter was trained for, where it was passed to training as an object; or
            `open_classifier(module, ...)` with the preprocessing that it was trained with.
    """
    from unlogit.classifiers import binding, open_classifier
    from unlogit.methods._trained import FOLDER, download, kind
    from unlogit.saved import CONFIG, read_json

    if classifier is not None:
        if isinstance(classifier, str):
            raise UnlogitError(
                f"classifier '{classifier}': must be a torch module; leave it out, since a saved inverter names its own"
            )
        with binding(open_classifier(classifier)):
            return open_inverter(name, trust_code)
    name = str(name)
    folder = WEIGHTS / name if name in known() else Path(expand_user(name))
    if not folder.is_dir() and HUB_ID.fullmatch(name) and not Path(name).parent.exists():
        if trust_code:
            raise UnlogitError(f"inverter '{name}': nothing from the Hub may run code; download it and open its folder")
        folder = download(name)
        with named_by(f"inverter '{name}'", hub=folder.resolve()):
            return open_inverter(folder)
    if folder.is_dir():
        what = f"inverter '{folder}'"
        named = kind(read_json(folder / CONFIG, what, FOLDER))
        if (method := KINDS.get(named, named)) not in trainable():
            raise unknown(f"kind of {what}", named, [*KINDS, *(set(trainable()) - set(KINDS.values()))])
        trained: LearnedInverter = importlib.import_module(f"{__name__}.{method}.inverter").INVERTER.load(
            folder, trust_code
        )
        return trained
    method, colon, rest = name.partition(":")
    if colon and method in untrained():
        with trusting(trust_code):
            inverter: Inverter = _module(method).open_source(rest, name)
            return inverter
    raise UnlogitError(
        f"inverter '{name}': must be a folder, a packaged inverter ({', '.join(known()) or 'none'}), OWNER/NAME on the "
        f"Hugging Face Hub, or a method ({', '.join(f'{method}:CLASSIFIER' for method in untrained())})"
        f"{did_you_mean(name, known())}"
    )


def _module(name: str) -> ModuleType:
    return registry.module(__name__, name, "kind of inverter")


def called(argument: str) -> tuple[str, str]:
    """Return (name, inverter) of NAME=INVERTER or INVERTER.

    Without a name, a method is called by its own name, and a folder "inverter" by the name of its run.
    """
    name, equals, inverter = argument.partition("=")
    if equals and name and ":" not in name:
        return name, inverter
    method, colon, _ = argument.partition(":")
    if colon and method in untrained():
        return method, argument
    path = Path(expand_user(argument)).resolve()
    return (path.parent.name if path.name == "inverter" else path.name), argument
