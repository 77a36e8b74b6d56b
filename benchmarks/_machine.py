"""What a benchmark ran on, and how it takes times."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch


def cpu() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine() -> str:
    """Device, threads and version, for the line above a table."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu()
    return f"{device}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def seconds(run: Callable[[], object]) -> float:
    """How long one call takes.

    On the CPU the process's own time, so that what else runs on the machine counts for little; on a GPU the clock's,
    after everything launched is done.
    """
    if not torch.cuda.is_available():
        start = time.process_time()
        run()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


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


def matmul_peak(dtype: torch.dtype, side: int = 1_024, rounds: int = 5) -> float:
    """FLOP/s of a large square product, the best of some rounds: the ceiling that shares are told of."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    times = [seconds(lambda: [a @ b for _ in range(8)]) for _ in range(rounds + 1)]
    return 8 * 2 * side**3 / min(times[1:])
