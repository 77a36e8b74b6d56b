"""Random numbers as a function of a seed and a position."""

from __future__ import annotations

import numpy as np
import torch


def seeded(*parts: int) -> torch.Generator:
    """Return a generator on the CPU whose stream is a function of all `parts`, such as a seed and a position.

    The parts, from 0 on, are mixed, since torch's generator on the CPU reads the low 32 bits of its seed alone.
    """
    return torch.Generator().manual_seed(int(np.random.SeedSequence(parts).generate_state(1)[0]))
