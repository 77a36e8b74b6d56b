"""The folder of a run: configuration, metrics as JSON lines, sample grids."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from unlogit.errors import UnlogitError
from unlogit.files import check_replaceable, recover, replacing, to_json, written_here
from unlogit.former import current
from unlogit.methods import SAVED, TrainConfig
from unlogit.methods.biggan import BigGANConfig, GeneratorConfig
from unlogit.runtime.progress import Metrics
from unlogit.saved import read_json

CONFIG, METRICS, SAMPLES = "config.json", "metrics.jsonl", "samples"
CHECKPOINTS, INVERTER, BEST = "checkpoints", "inverter", "best"

METHODS = {"paper": "biggan", "dosovitskiy2016a": "decoder", "dosovitskiy2016b": "decoder"}
"""Current names of the methods by their names in earlier versions."""
# Settings that may change on resumption without changing the result.
MUTABLE = {
    *("out", "num_images", "log_every", "checkpoint_every", "validate_every", "num_validation_images", "cache"),
    *("strict", "micro_batch", "rollback", "decay", "best", "recognition", "trust_code"),
}


class RunFolder:
    """Read and write `folder`/config.json, metrics.jsonl and samples/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics = Metrics(folder / METRICS)
        self.samples, self.checkpoints = folder / SAMPLES, folder / CHECKPOINTS
        self.inverter, self.best = folder / INVERTER, folder / BEST

    def check(self, config: TrainConfig) -> None:
        """Raise `UnlogitError` unless the folder is new or holds a run of this configuration.

        None of the files that a run writes may exist there from another origin.
        """
        path = self.folder / CONFIG
        if path.exists():
            self.compare(_read(path), config)
        # A run writes its configuration before anything else.
        ours = written_here if path.exists() else None
        check_replaceable(self.metrics.path, ours)
        for folder in (self.samples, self.checkpoints):
            check_replaceable(folder, ours, folder=True)
        for folder in (self.inverter, self.best):
            check_replaceable(folder, SAVED if path.exists() else None, folder=True)

    def compare(self, saved: dict[str, Any], config: TrainConfig) -> None:
        """Raise `UnlogitError` where a saved configuration differs from `config` in what affects the result."""
        wanted = plain(config)
        # A setting that was added later had its default value.
        before = _filled(upgraded(saved), plain(_defaults(config)))
        there, here = _fixed(before), _fixed(wanted)
        changed = [name for name in here if there.get(name) != here[name]]
        if changed:
            differences = "; ".join(f"{name}: {there.get(name)} there, {here[name]} given" for name in changed)
            raise UnlogitError(
                f"'{self.folder}' holds a run of another configuration ({differences}): "
                "resume it with its own, or give another --out"
            )

    def begin(self, config: TrainConfig, images: int) -> None:
        """Write the configuration and drop log lines after `images`, from where the run resumes."""
        recover(self.folder, CONFIG, METRICS, INVERTER, BEST)
        recover(self.samples, "*.png")
        recover(self.checkpoints, "*.pt")
        with replacing(self.folder / CONFIG, written_here) as fresh:
            fresh.write_text(to_json(plain(config), indent=2) + "\n")
        self.samples.mkdir(exist_ok=True)
        self.metrics.begin(images)

    def sample(self, images: int) -> Path:
        """Return the file of the sample grid after so many images."""
        return self.samples / f"{images:09d}.png"

    def lines(self) -> list[dict[str, Any]]:
        """Return every complete line of metrics.jsonl."""
        return self.metrics.lines()

    def log(self, images: int, values: dict[str, float]) -> None:
        """Append one line; "seconds" counts training time over all resumptions."""
        self.metrics.log(images, values)

    def seconds(self) -> float:
        return self.metrics.seconds()

    def validations(self) -> list[dict[str, float]]:
        """Return the metrics of all validations, oldest first, without their prefix."""
        validations = [
            {k.removeprefix("val/"): v for k, v in line.items() if k.startswith("val/")} for line in self.lines()
        ]
        return [figures for figures in validations if figures]


def plain(config: TrainConfig) -> dict[str, Any]:
    """Return a configuration as it is saved: JSON values only, the method's options under its name."""
    values: dict[str, Any] = json.loads(to_json(dataclasses.asdict(config)))
    return values | {"method": {config.method.NAME: values["method"]}}


def upgraded(saved: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a run of an earlier version, whose methods' options were all at the top level."""
    saved = current(saved)
    if not isinstance(name := saved.get("method", "paper"), str):
        return saved
    size = {"size": saved.get("generator", {}).get("size", GeneratorConfig.size)}
    options: dict[str, Any] = {"decoder": saved.get("decoder", {}), **size, **saved.get(name, {})}
    if name == "flow":
        options = {"velocity": saved.get("velocity", {}), **size, **saved.get("flow", {})}
    own = {field.name for field in dataclasses.fields(BigGANConfig)}
    if name == "paper":
        options = {key: value for key, value in saved.items() if key in own}
    others = {*own, "decoder", "dosovitskiy2016a", "dosovitskiy2016b", "velocity", "flow", "method"}
    common = {key: value for key, value in saved.items() if key not in others}
    return common | {"method": {METHODS.get(name, name): options}}


def _read(path: Path) -> dict[str, Any]:
    """Return a run's config.json; raise `UnlogitError` where it is damaged or not a run's."""
    config = read_json(path, f"run '{path.parent}'", "resume from another copy of it, or give another --out")
    required = {field.name for field in dataclasses.fields(TrainConfig) if _needed(field)}
    if not required <= current(config).keys():
        raise UnlogitError(f"'{path}' is not the configuration of a run: unlogit did not write it; give another --out")
    return config


def _defaults(config: TrainConfig) -> TrainConfig:
    """Return the configuration with all optional settings at their defaults."""
    required = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if _needed(f)}
    return TrainConfig(**required, method=type(config.method)())


def _needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _fixed(saved: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that must not change on resumption, by name, those of the method among them."""
    common = {name: value for name, value in saved.items() if name not in MUTABLE | {"method"}}
    (method, options), *_ = saved["method"].items()
    return {"method": method} | common | {name: value for name, value in options.items() if name not in MUTABLE}


def _filled(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return `values`, completed by `defaults` at every level."""
    missing = {k: v for k, v in defaults.items() if k not in values}
    deeper = {k: _filled(v, defaults[k]) for k, v in values.items() if isinstance(v, dict) and k in defaults}
    return values | missing | deeper
