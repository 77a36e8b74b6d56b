"""Cost of an inversion: seconds and floating-point operations per image."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from unlogit.methods._inverter import Inverter


@dataclass(frozen=True)
class Cost:
    """Cost of one image.

    Attributes:
        seconds: seconds per image from representation to image, measured on a whole batch.
        flops: floating-point operations per image; a multiplication and an addition are two. Convolutions, matrix
            products and attention alone are counted, forward and backward.
        batch: number of images in the measured batch.
        device: device of the measurement, such as "cpu, 2 threads".
    """

    seconds: float
    flops: int
    batch: int
    device: str


def cost(inverter: Inverter, raw: Tensor, repeats: int = 3) -> Cost:
    """Measure an inversion of raw representations, N x K: the fastest of `repeats`.

    Operations are counted in one more pass of one image before, which also warms up.
    """
    noise = inverter.sample_noise(len(raw), torch.Generator().manual_seed(0))
    first = None if noise is None else noise[:1]
    with FlopCounterMode(display=False) as counted:
        inverter.invert(raw[:1], first)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        inverter.invert(raw, noise).cpu()  # The copy waits until the device has finished.
        seconds.append(time.perf_counter() - started)
    kind = raw.device.type
    device = torch.cuda.get_device_name(raw.device) if kind == "cuda" else f"{kind}, {torch.get_num_threads()} threads"
    return Cost(min(seconds) / len(raw), counted.get_total_flops(), len(raw), device)
