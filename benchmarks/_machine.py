"""How a benchmark takes times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from unlogit.runtime import device
from unlogit.runtime.device import described as machine

__all__ = ["interleaved", "machine", "matmul_peak", "ratio", "seconds"]

# On the CPU the process's own time, so that what else runs on the machine counts for little.
CLOCK = time.perf_counter if torch.cuda.is_available() else time.process_time


def seconds(run: Callable[[], object]) -> float:
    """How long one call takes."""
    return device.seconds(run, CLOCK)


def interleaved(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every run in every round, one after the other in each, after a round that does not count."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return times


def ratio(times: list[float], reference: list[float]) -> float:
    """How many times faster than the reference: the median of the rounds' own ratios."""
    return statistics.median(r / t for t, r in zip(times, reference, strict=True))


def matmul_peak(dtype: torch.dtype) -> float:
    """FLOP/s of a large square product."""
    return device.matmul_peak(dtype, clock=CLOCK)
