"""What an inversion costs: seconds and floating-point operations an image."""

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
        seconds: of a batch, divided by its images; from representation to image.
        flops: a multiplication and an addition are two; convolutions, matrix products and attention alone are counted,
            forward and backward.
        batch: images at a time.
        device: that it was measured on, such as "cpu, 1 thread".
    """

    seconds: float
    flops: int
    batch: int
    device: str


def cost(inverter: Inverter, raw: Tensor, repeats: int = 3) -> Cost:
    """Measure an inversion of raw representations, N x K: the fastest of `repeats`.

    Counting takes one more pass, of one image, before: it warms up.
    """
    noise = inverter.sample_noise(len(raw), torch.Generator().manual_seed(0))
    first = None if noise is None else noise[:1]
    with FlopCounterMode(display=False) as counted:
        inverter.invert(raw[:1], first)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        inverter.invert(raw, noise).cpu()  # Which waits for a device to finish.
        seconds.append(time.perf_counter() - started)
    kind = raw.device.type
    device = torch.cuda.get_device_name(raw.device) if kind == "cuda" else f"{kind}, {torch.get_num_threads()} threads"
    return Cost(min(seconds) / len(raw), counted.get_total_flops(), len(raw), device)
