"""How much reconstructions of one representation differ over the noise."""

from __future__ import annotations

import torch
from torch import Tensor

from unlogit.errors import UnlogitError


def diversity(draws: Tensor) -> Tensor:
    """Root mean squared pixel distance between two draws, N, in [0, 1].

    Args:
        draws: reconstructions from D >= 2 noises, D x N x 3 x H x W in [0, 1].
    """
    count = len(draws)
    if count < 2:
        raise UnlogitError(f"diversity of {count} draw: give at least 2, of different noises")
    pairs = [(draws[i] - draws[j]).square().mean((1, 2, 3)).sqrt() for i in range(count) for j in range(i)]
    return torch.stack(pairs).mean(0)
