"""How fast `scenes:` renders on one core: `python benchmarks/scenes.py`.

Time is the process's own (one thread), so that what else runs on the machine counts for little.
"""

from __future__ import annotations

import platform
import time
from pathlib import Path

import torch

from unlogit.images import open_images

SECONDS = 2.0


def cpu() -> str:
    """Return the processor's name, where the system knows it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def rate(size: int, batch: int) -> float:
    """Images a second of the core's time, the median of the batches rendered in `SECONDS`."""
    source = open_images(f"scenes:?size={size}")
    times: list[float] = []
    source.read(range(batch))
    while sum(times) < SECONDS:
        start = len(times) * batch % (len(source) - batch)
        began = time.process_time()
        source.read(range(start, start + batch))
        times.append(time.process_time() - began)
    return batch / sorted(times)[len(times) // 2]


def main() -> None:
    torch.set_num_threads(1)
    print(f"{cpu()}, one thread, torch {torch.__version__}")
    print(f"{'size':>6}{'batch':>8}{'images/s':>12}")
    for size in (32, 64, 128):
        for batch in (1, 32, 256):
            print(f"{size:>6}{batch:>8}{rate(size, batch):>12,.0f}")


if __name__ == "__main__":
    main()
