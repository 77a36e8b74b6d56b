"""Inverters: one API, one file per method; trained ones are folders, others `method:CLASSIFIER?option=value`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from unlogit import registry
from unlogit.errors import UnlogitError
from unlogit.files import expand_user
from unlogit.inverters._base import Inverter, Sight
from unlogit.inverters._cost import Cost, cost
from unlogit.inverters._learned import FOLDER, SAVED, LearnedInverter, kind
from unlogit.inverters.decoder import DecoderInverter
from unlogit.inverters.flow import FlowInverter
from unlogit.inverters.generator import GeneratorInverter
from unlogit.saved import CONFIG, read_json
from unlogit.trust import trusting

__all__ = [
    "SAVED",
    "Cost",
    "DecoderInverter",
    "FlowInverter",
    "GeneratorInverter",
    "Inverter",
    "LearnedInverter",
    "Sight",
    "called",
    "cost",
    "known",
    "open_inverter",
    "untrained",
]

WEIGHTS = Path(__file__).parents[1] / "weights"


def known() -> list[str]:
    """Names of the trained inverters that come with the package."""
    return sorted(p.parent.name for p in WEIGHTS.glob("*/config.json"))


def untrained() -> list[str]:
    """The methods that need no training, and are opened as METHOD:CLASSIFIER?option=value."""
    return [name for name in registry.names(__name__) if hasattr(_module(name), "open_source")]


def open_inverter(name: str, trust_code: bool = False) -> Inverter:
    """Open an inverter: the name of one that comes with the package, a folder, or a method with its options.

    A method that needs no training is written as `engstrom:small:runs/c?tap=penultimate&steps=200`.
    Raises `UnlogitError` where it is none of these, or something it names cannot be opened.

    Args:
        name: such as efficientnet_lite0, runs/a/inverter or nearest:small:runs/c?images=scenes:.
        trust_code: whether a file that is opened may name a classifier that runs code (`python:`). What `name` itself
            names is the caller's own and needs no permission.
    """
    folder = WEIGHTS / name if name in known() else Path(expand_user(name))
    if folder.is_dir():
        what = f"inverter '{folder}'"
        named = kind(read_json(folder / CONFIG, what, FOLDER))
        saved = getattr(registry.module(__name__, named, f"kind of {what}"), "Saved", None)
        if saved is None:
            raise UnlogitError(f"{what}: its kind '{named}' is not trained, and has no folder: {FOLDER}")
        trained: LearnedInverter = saved.load(folder, trust_code)
        return trained
    method, colon, rest = name.partition(":")
    if colon and method in untrained():
        with trusting(trust_code):
            inverter: Inverter = _module(method).open_source(rest, name)
            return inverter
    raise UnlogitError(
        f"inverter '{name}': neither a folder nor one of those that come with unlogit ({', '.join(known()) or 'none'}) "
        f"nor a method with its options ({', '.join(f'{method}:CLASSIFIER' for method in untrained())})"
    )


def _module(name: str) -> ModuleType:
    return registry.module(__name__, name, "kind of inverter")


def called(given: str) -> tuple[str, str]:
    """(name, inverter) of NAME=INVERTER or INVERTER, which a method names itself, and its run a folder "inverter"."""
    name, equals, inverter = given.partition("=")
    if equals and name and ":" not in name:
        return name, inverter
    method, colon, _ = given.partition(":")
    if colon and method in untrained():
        return method, given
    path = Path(expand_user(given)).resolve()
    return (path.parent.name if path.name == "inverter" else path.name), given
