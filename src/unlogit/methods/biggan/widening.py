"""Widen a generator without changing its function: Net2WiderNet (Chen, Goodfellow and Shlens, ICLR 2016).

Each additional channel is a copy of an existing one. The weights that read both are split between them at random, so
that the sum is the same and the copies receive different gradients.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from unlogit.methods.biggan.generator import Generator


def widened(generator: Generator, channels: int, seed: int = 0) -> Generator:
    """Return a wider generator that maps every input to the same pixels.

    Args:
        generator: a generator without spectral norm or attention.
        channels: `channels` of the wider generator's configuration, at least the current value.
        seed: random seed of the copied channels and of the split weights.
    """
    config = replace(generator.config, channels=channels)
    rng = torch.Generator().manual_seed(seed)
    wider = Generator(generator.representation, config)
    sources = [_sources(old, new, rng) for old, new in zip(generator.config.widths, config.widths, strict=True)]
    weights = dict(generator.state_dict())

    def copied(prefix: str, source: Tensor) -> None:
        for name in [n for n in weights if n.startswith(prefix) and weights[n].ndim and ".hidden." not in n]:
            weights[name] = weights[name][source]

    def split(name: str, source: Tensor) -> None:
        share = torch.rand(weights[name].shape[0], len(source), generator=rng) + 0.5
        total = torch.zeros(weights[name].shape[0], int(source.max()) + 1).index_add_(1, source, share)
        share /= total[:, source]
        weights[name] = weights[name][:, source] * share[:, :, None, None]

    for name in ("first.weight", "first.bias"):
        by_channel = weights[name].unflatten(0, (-1, 16))
        weights[name] = by_channel[sources[0]].flatten(0, 1)
    for i in range(len(generator.blocks)):
        block, entering, leaving = f"blocks.{i}", sources[i], sources[i + 1]
        copied(f"{block}.norm1.", entering)
        copied(f"{block}.norm2.", leaving)
        for layer, reads in (("conv1", entering), ("conv2", leaving), ("shortcut", entering)):
            copied(f"{block}.{layer}.", leaving)
            split(f"{block}.{layer}.weight", reads)
    copied("last_", sources[-1])
    split("last.weight", sources[-1])
    if generator.config.map is not None:
        copied("entering_map.", sources[generator.entry])
    wider.load_state_dict(weights)
    return wider.train(generator.training)


def _sources(old: int, new: int, rng: torch.Generator) -> Tensor:
    """Return for each of `new` channels its source among `old`: all in order, then copies, as evenly as possible."""
    rounds = -(-new // old)
    return torch.cat([torch.arange(old), *(torch.randperm(old, generator=rng) for _ in range(rounds - 1))])[:new]
