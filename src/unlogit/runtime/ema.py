"""Exponential moving averages of weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

RAMP = 0.1
"""Longest half-life, as a share of the training so far (Karras et al. 2024)."""


class MovingAverage(AveragedModel):
    """Torch's `AveragedModel`, and its checkpoints, with an update that never waits for the device.

    Torch's own copies its counter to the device at every update, which waits for all work queued there. The counter
    stays on the CPU here.
    """

    def __init__(self, network: nn.Module, *, use_buffers: bool = False) -> None:
        super().__init__(network, use_buffers=use_buffers)

    @torch.no_grad()
    def update(self, network: nn.Module, keep: float) -> None:
        """Set the average to keep * average + (1 - keep) * network, the first time to the network.

        Buffers are copied; with `use_buffers` those in floating point are averaged too.
        """
        weight = 1 - keep if self.n_averaged > 0 else 1.0
        averages: list[Tensor] = list(self.module.parameters())
        current: list[Tensor] = list(network.parameters())
        for average, value in zip(self.module.buffers(), network.buffers(), strict=True):
            if self.use_buffers and average.is_floating_point():
                averages.append(average)
                current.append(value)
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, current, weight)
        self.n_averaged += 1


def decay(step: int, half_life: float, seen: int | None = None) -> float:
    """Return the share of an average that a step of `step` images keeps, by its half-life in images.

    The half-life grows with `seen`, the number of training images so far; None for a constant one.
    """
    return 0.5 ** (step / (half_life if seen is None else min(half_life, RAMP * max(seen, 1))))
