"""The velocity of a conditional flow: a small U-Net that is conditioned on the time and the representation.

The network that flow matching (Lipman et al. 2023) trains. A plain U-Net in the shape of Ho et al. 2020: residual
blocks with group norm, scaled and shifted by the condition (Perez et al. 2018), and attention at the coarsest map.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.methods._config import check_size
from unlogit.methods.flow.config import GROUPS, VelocityConfig

# Widths of the feature maps from full resolution down to 8x8, in units of `channels`.
WIDTHS = {32: (1, 2, 4), 64: (1, 2, 4, 4), 128: (1, 1, 2, 4, 4)}
TIMES = 64
"""Length of the sinusoidal embedding of time."""


class Block(nn.Module):
    """Norm, SiLU, 3x3, norm scaled and shifted by the condition, SiLU, 3x3 that starts at zero; shortcut."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.modulation = nn.Linear(condition, 2 * outputs)
        self.norm2 = nn.GroupNorm(GROUPS, outputs)
        self.conv2 = _zero(nn.Conv2d(outputs, outputs, 3, 1, 1))
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        gain, bias = self.modulation(condition)[:, :, None, None].chunk(2, 1)
        h = torch.addcmul(bias, self.norm2(h), 1 + gain)
        return self.shortcut(x) + self.conv2(F.silu(h))


class Attention(nn.Module):
    """Self-attention over all positions, with a projection that starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.inward = nn.Conv2d(channels, 3 * channels, 1)
        self.outward = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.inward(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, 2)
        attended = F.scaled_dot_product_attention(query, key, value)
        return x + self.outward(attended.transpose(1, 2).view_as(x))


class Velocity(nn.Module):
    """dx/dt at x, of pixels in [-1, 1], at time t from noise (0) to image (1).

    Args:
        representation: length K of the representation.
        size: side of the images: 32, 64 or 128.
    """

    def __init__(self, representation: int, size: int, config: VelocityConfig) -> None:
        super().__init__()
        check_size(size, WIDTHS)
        self.representation, self.size, self.config = representation, size, config
        widths = [config.channels * w for w in WIDTHS[size]]
        length = config.condition
        self.time = nn.Sequential(nn.Linear(TIMES, length), nn.SiLU(), nn.Linear(length, length))
        self.embed = nn.Sequential(nn.Linear(representation, length), nn.SiLU(), nn.Linear(length, length))
        self.first = nn.Conv2d(3, widths[0], 3, 1, 1)
        steps = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(Block(w, w, length) for w in widths[:-1])
        self.shrink = nn.ModuleList(nn.Conv2d(i, o, 3, 2, 1) for i, o in steps)
        self.middle = nn.ModuleList([Block(widths[-1], widths[-1], length) for _ in range(2)])
        self.attention = Attention(widths[-1])
        self.grow = nn.ModuleList(nn.Conv2d(o, i, 3, 1, 1) for i, o in reversed(steps))
        self.up = nn.ModuleList(Block(2 * i, i, length) for i, _ in reversed(steps))
        self.last = nn.Sequential(nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(), _zero(nn.Conv2d(widths[0], 3, 3, 1, 1)))

    def forward(self, x: Tensor, time: Tensor, representation: Tensor) -> Tensor:
        """Return the velocity, float32, N x 3 x S x S, at x (N x 3 x S x S), time (N), representation (N x K)."""
        condition = F.silu(self.time(_sinusoids(time)) + self.embed(representation))
        x = self.first(x.contiguous(memory_format=torch.channels_last))
        skips = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            x = block(x, condition)
            skips.append(x)
            x = shrink(x)
        x = self.middle[1](self.attention(self.middle[0](x, condition)), condition)
        for grow, block in zip(self.grow, self.up, strict=True):
            x = grow(F.interpolate(x, scale_factor=2))
            x = block(torch.cat([x, skips.pop()], 1), condition)
        return self.last(x).float()


def _sinusoids(time: Tensor) -> Tensor:
    """Return cosines and sines, N x TIMES, of frequencies from 1 to 1000 (Vaswani et al. 2017)."""
    rates = torch.exp(torch.linspace(0, math.log(1000), TIMES // 2, device=time.device))
    angles = time[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], 1)


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
