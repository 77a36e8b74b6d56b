"""Which device, in which precision it computes fast, and how fast."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch


def pick_device() -> torch.device:
    """The accelerator of this process, or the CPU."""
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        return device
    return torch.device("cpu")


def computes_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than fp32 there; on a CPU without such instructions it is ten times slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast of "auto", "fp32" or "bf16"."""
    on = computes_bf16(device) if precision == "auto" else precision == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=on)


def described() -> str:
    """Device, threads and version, to stand above measured figures."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _cpu()
    return f"{device}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def seconds(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long one call takes by a clock; on a GPU with everything that it launched done."""
    synchronise = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    synchronise()
    start = clock()
    run()
    synchronise()
    return clock() - start


def matmul_peak(
    dtype: torch.dtype,
    side: int = 1_024,
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """FLOP/s of a large square product, the best of some rounds: the ceiling that shares are told of."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    times = [seconds(lambda: [a @ b for _ in range(8)], clock) for _ in range(rounds + 1)]
    return 8 * 2 * side**3 / min(times[1:])


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
