"""The folder of a run: configuration, metrics as JSON lines, sample grids."""

from __future__ import annotations

import dataclasses
import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from unlogit.errors import UnlogitError, one_line
from unlogit.files import replacing
from unlogit.progress import Metrics
from unlogit.saved import read_json
from unlogit.training.config import TrainConfig

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# What may change between a run and its resumption without changing what it computes.
MUTABLE = {
    *("out", "pictures", "log_every", "checkpoint_every", "validate_every", "validation_pictures", "cache", "strict"),
    *("micro_batch", "rollback", "decay", "trust_code"),
}


class RunFolder:
    """Reads and writes `folder`/config.json, metrics.jsonl and samples/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics = Metrics(folder / "metrics.jsonl")
        self.samples = folder / "samples"

    def check(self, config: TrainConfig) -> None:
        """Raise `UnlogitError` if the folder holds a run with another configuration."""
        path = self.folder / "config.json"
        if not path.exists():
            return
        given = _plain(config)
        # A setting that came after the run began had its default then.
        saved = read_json(path, f"run '{self.folder}'", "resume from another copy of it, or give another --out")
        before = _filled(saved, _plain(_defaults(config)))
        changed = [k for k in given if k not in MUTABLE and before.get(k) != given[k]]
        if changed:
            told = "; ".join(f"{k}: {before.get(k)} there, {given[k]} given" for k in changed)
            raise UnlogitError(
                f"'{self.folder}' holds a run of another configuration ({told}): "
                "resume it with its own, or give another --out"
            )

    def begin(self, config: TrainConfig, images: int) -> None:
        """Write the configuration down and forget what was logged after `images`, where the run resumes."""
        self.samples.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / "config.json") as fresh:
            fresh.write_text(json.dumps(_plain(config), indent=2) + "\n")
        self.metrics.begin(images)

    def lines(self) -> list[dict[str, Any]]:
        """Every complete line of metrics.jsonl."""
        return self.metrics.lines()

    def log(self, images: int, values: dict[str, float]) -> None:
        """Append one line; "seconds" counts training time over all resumptions."""
        self.metrics.log(images, values)

    def seconds(self) -> float:
        return self.metrics.seconds()

    def validations(self) -> list[dict[str, float]]:
        """All validations' figures, oldest first, without their prefix."""
        found = [{k.removeprefix("val/"): v for k, v in line.items() if k.startswith("val/")} for line in self.lines()]
        return [figures for figures in found if figures]


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """Tells a full disk in a line; what was being written is then as it was before."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) not in FULL and not any(
            f"os error {number})" in str(error) for number in FULL
        ):
            raise
        raise UnlogitError(
            f"no room to write in '{folder}' ({one_line(error)}): make room; "
            "the same command goes on from the last checkpoint"
        ) from error


def _plain(config: TrainConfig) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return plain


def _defaults(config: TrainConfig) -> TrainConfig:
    """The configuration with every setting that has a default at it."""
    given = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if _needed(f)}
    return TrainConfig(**given)


def _needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _filled(given: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """`given` with what it lacks from `defaults`, level by level."""
    missing = {k: v for k, v in defaults.items() if k not in given}
    deeper = {k: _filled(v, defaults[k]) for k, v in given.items() if isinstance(v, dict) and k in defaults}
    return given | missing | deeper
