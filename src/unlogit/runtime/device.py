"""Which device, in which precision it computes fast, and how fast."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from unlogit.errors import UnlogitError

Precision = Literal["fp32", "bf16"]
PRECISION_ROUNDS = 5


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of a name, as `--device` takes it, and make a GPU the current one.

    Args:
        name: "auto" is this process's CUDA GPU where there is one, and otherwise the CPU; or "cpu", "cuda", "cuda:1",
            "mps". Apple's MPS is used by name only, since nothing here was tried on it.

    Raises:
        UnlogitError: the name is unknown, or this machine does not have the device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, colon, index = name.partition(":")
    valid = kind in ("auto", "cpu", "cuda", "mps") and (not colon or (kind == "cuda" and index.isdecimal()))
    if not valid:
        raise UnlogitError(f"--device '{name}': must be auto, cpu, cuda, cuda:N or mps")
    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise UnlogitError(f"--device {name}: torch has no MPS on this machine; give --device auto")
        return torch.device("mps")
    if kind == "cpu" or (kind == "auto" and not gpus):
        return torch.device("cpu")
    device = torch.device("cuda", int(index or os.environ.get("LOCAL_RANK", "0")))
    if device.index >= gpus:
        raise UnlogitError(f"--device {name}: torch finds {gpus} CUDA GPUs on this machine; give --device auto")
    torch.cuda.set_device(device)
    return device


@cache
def fastest_precision(device: torch.device) -> Precision:
    """Measure which is faster on a device, bf16 autocast or fp32; a process measures once.

    CPU flags do not decide: of two CPUs with AVX512-BF16, one takes half the time in bf16 and one 1.7 times as long.
    A convolution and a product, forward and backward, are timed each way, some tens of milliseconds in all.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type != "cpu":
        return "fp32"
    if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return "fp32"  # Emulated, bf16 is ten times slower.
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 64, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    vectors = torch.randn(64, 1_024, generator=generator)
    with torch.random.fork_rng(devices=[]):
        convolution = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        product = nn.Linear(1_024, 1_024)

    def step(precision: Precision) -> None:
        with torch.enable_grad(), autocast(device, precision):
            loss = convolution(image).float().sum() + product(vectors).float().sum()
        loss.backward()

    # The processor's time, since other load on the machine should not decide; the first round warms up.
    def timed(precision: Precision) -> float:
        return seconds(lambda: step(precision), time.process_time)

    rounds = [(timed("fp32"), timed("bf16")) for _ in range(PRECISION_ROUNDS)][1:]
    fp32, bf16 = (min(times) for times in zip(*rounds, strict=True))
    return "bf16" if bf16 < fp32 else "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast of "fp32", "bf16" or "auto", the faster one."""
    on = (fastest_precision(device) if precision == "auto" else precision) == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=on)


def described(device: torch.device | None = None) -> str:
    """Return device, threads and version, to stand above measured numbers; None is the device of "auto"."""
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device is None else device.type
    name = torch.cuda.get_device_name(device) if kind == "cuda" else f"{kind} on {_cpu()}" if kind == "mps" else _cpu()
    return f"{name}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


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
    device: torch.device | None = None,
) -> float:
    """Return the FLOP/s of a large square product, the best of some rounds: the peak that shares refer to.

    The device is that of "auto" where none is given.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    times = [seconds(lambda: [a @ b for _ in range(8)], clock) for _ in range(rounds + 1)]
    return 8 * 2 * side**3 / min(times[1:])


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
