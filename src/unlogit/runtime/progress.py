"""What a long run needs beside its steps: stages announced, when something is due, how it is stopped, its metrics."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unlogit.files import replacing, to_json, written_here
from unlogit.outside import plain


class Due:
    """Says yes once whenever a count passes a multiple of `every`."""

    def __init__(self, every: int, start: int) -> None:
        self.every, self.passed = every, start // every

    def __call__(self, count: int) -> bool:
        passed, self.passed = self.passed, count // self.every
        return self.passed > passed


def in_words(seconds: float) -> str:
    """Return a duration in its largest sensible unit, such as "3.2 hours"."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def announce(stage: str) -> None:
    """Print on stderr what begins now, so that no command is silent for long; of several processes, the first does."""
    if os.environ.get("RANK", "0") == "0":
        print(f"unlogit: {plain(stage)} ...", file=sys.stderr, flush=True)


def announce_torch() -> None:
    """Announce the import of torch, which takes seconds, unless it is imported already."""
    if "torch" not in sys.modules:
        announce("loading PyTorch")


SAME_SIGNAL = 2.0
"""Seconds."""
STDERR = 2
STOPPING = b"\nunlogit: stopping after this step and saving; press Ctrl-C again to stop at once\n"


@contextmanager
def interruptible(announced: bool = True) -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM ask the loop to stop after its step; another one, two seconds later or more, stops at once.

    Sooner it is the same one: a terminal and Slurm signal launcher and processes, and the launcher passes it on.

    Args:
        announced: whether the first signal is answered on stderr, which one of several processes does.
    """
    received: list[float] = []
    former: dict[int, object] = {}

    def ask(_number: int, _frame: object) -> None:
        received.append(time.monotonic())
        if announced and len(received) == 1:
            os.write(STDERR, STOPPING)  # Unlike print, it may interrupt another write.
        if received[-1] - received[0] >= SAME_SIGNAL:
            raise KeyboardInterrupt

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            former[number] = signal.signal(number, ask)
    except ValueError:  # Not in the main thread: whoever runs us there stops us by other means.
        pass
    try:
        yield lambda: bool(received)
    finally:
        for caught, handler in former.items():
            signal.signal(caught, handler)  # type: ignore[arg-type]


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """SIGTERM raises KeyboardInterrupt, as SIGINT does, for a process that is not in its loop yet, or has none.

    Yields the signals that have come: what is interrupted, such as an import, may fail with an error of its own.
    """
    received: list[int] = []

    def stop(number: int, _frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    usual: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    # What another handler, or a caller that ignores signals as nohup does, has set stays.
    caught = [number for number, handler in usual.items() if signal.getsignal(number) == handler]
    try:
        for number in caught:
            signal.signal(number, stop)
    except ValueError:  # Not in the main thread.
        caught = []
    try:
        yield received
    finally:
        for number in caught:
            signal.signal(number, usual[number])  # type: ignore[arg-type]


class Metrics:
    """A file of JSON lines, each with the images seen, the seconds taken over all resumptions, and figures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started = time.monotonic()
        self._seconds_before = 0.0

    def begin(self, images: int) -> None:
        """Forget what was logged after `images`, where the run resumes, and start the clock."""
        remaining = [line for line in self.lines() if line["images"] <= images]
        self._seconds_before = max((line["seconds"] for line in remaining), default=0.0)
        self._started = time.monotonic()
        with replacing(self.path, written_here) as fresh:
            fresh.write_text("".join(to_json(line) + "\n" for line in remaining))

    def lines(self) -> list[dict[str, Any]]:
        """Every complete line, without values that are not finite, which version 0.1.0 wrote."""
        if not self.path.is_file():  # A named pipe would never end.
            return []
        lines = []
        for text in self.path.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
                if line["images"] >= 0 and line["seconds"] >= 0:
                    lines.append(_finite(line))
            except (ValueError, KeyError, TypeError, RecursionError):  # A line that a kill cut short.
                continue
        return lines

    def log(self, images: int, values: dict[str, float]) -> None:
        """Append one line; values that are not finite are left out."""
        line = {"images": images, "seconds": round(self.seconds(), 2)} | {
            k: float(f"{v:.6g}") for k, v in _finite(values).items()
        }
        with self.path.open("a") as handle:
            handle.write(to_json(line) + "\n")

    def seconds(self) -> float:
        """Return the seconds of training so far, over all resumptions."""
        return self._seconds_before + time.monotonic() - self._started


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if not isinstance(v, float) or math.isfinite(v)}
