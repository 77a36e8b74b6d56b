"""The folder of a run: configuration, metrics as JSON lines, sample grids."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from unlogit.errors import UnlogitError
from unlogit.files import replacing
from unlogit.training.config import TrainConfig

# What may change between a run and its resumption without changing what it computes.
MUTABLE = {"out", "pictures", "log_every", "checkpoint_every", "validate_every", "validation_pictures", "cache"}


class RunFolder:
    """Reads and writes `folder`/config.json, metrics.jsonl and samples/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics = folder / "metrics.jsonl"
        self.samples = folder / "samples"
        self._started = time.monotonic()
        self._seconds_before = 0.0

    def check(self, config: TrainConfig) -> None:
        """Raise `UnlogitError` if the folder holds a run with another configuration."""
        path = self.folder / "config.json"
        if not path.exists():
            return
        before, given = json.loads(path.read_text()), _plain(config)
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
        kept = [line for line in self.lines() if line["images"] <= images]
        self._seconds_before = max((line["seconds"] for line in kept), default=0.0)
        self._started = time.monotonic()
        with replacing(self.metrics) as fresh:
            fresh.write_text("".join(json.dumps(line) + "\n" for line in kept))

    def lines(self) -> list[dict[str, Any]]:
        """Every complete line of metrics.jsonl."""
        if not self.metrics.exists():
            return []
        found = []
        for text in self.metrics.read_text().splitlines():
            try:
                found.append(json.loads(text))
            except json.JSONDecodeError:  # A line that a kill cut short.
                continue
        return found

    def log(self, images: int, values: dict[str, float]) -> None:
        """Append one line; "seconds" counts training time over all resumptions."""
        seconds = self._seconds_before + time.monotonic() - self._started
        line = {"images": images, "seconds": round(seconds, 2)} | {k: float(f"{v:.6g}") for k, v in values.items()}
        with self.metrics.open("a") as handle:
            handle.write(json.dumps(line) + "\n")

    def seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    def last_validation(self) -> dict[str, float]:
        """The newest validation figures, without their prefix."""
        for line in reversed(self.lines()):
            figures = {k.removeprefix("val/"): v for k, v in line.items() if k.startswith("val/")}
            if figures:
                return figures
        return {}


def _plain(config: TrainConfig) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return plain
