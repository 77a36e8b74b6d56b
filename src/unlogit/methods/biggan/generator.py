"""The paper's generator G(z, eps): BigGAN conditioned on a representation (Teterwak et al. 2021, section 3)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.errors import UnlogitError
from unlogit.methods._config import check_size
from unlogit.methods.biggan.config import GeneratorConfig
from unlogit.methods.biggan.layers import (
    Attention,
    ConditionalBatchNorm,
    Normalise,
    conv,
    linear,
    recomputed,
    upsampled_conv,
)


class GeneratorBlock(nn.Module):
    """Residual block that doubles the resolution: norm, ReLU, up, 3x3, norm, ReLU, 3x3; shortcut up, 1x1."""

    def __init__(self, inputs: int, outputs: int, condition: int, config: GeneratorConfig) -> None:
        super().__init__()
        sn = config.spectral_norm
        self.norm1 = ConditionalBatchNorm(inputs, condition, config.hidden)
        self.conv1 = conv(inputs, outputs, 3, spectral_norm=sn)
        self.norm2 = ConditionalBatchNorm(outputs, condition, config.hidden)
        self.conv2 = conv(outputs, outputs, 3, spectral_norm=sn)
        self.shortcut = conv(inputs, outputs, 1, spectral_norm=sn)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = upsampled_conv(F.relu(self.norm1(x, condition), inplace=True), self.conv1)
        h = self.conv2(F.relu(self.norm2(h, condition), inplace=True))
        # A 1x1 convolution and nearest up-sampling commute: this order takes a quarter of the work.
        return h.add_(F.interpolate(self.shortcut(x), scale_factor=2))


class Generator(nn.Module):
    """Map a representation and noise to pixels.

    Args:
        representation: length K of the representation.
    """

    def __init__(self, representation: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.representation = representation
        self.recompute = False  # Whether blocks are recomputed in the backward pass, to save memory.
        widths = config.widths
        self.chunk = config.noise // len(widths)
        conditioning = representation
        if config.map is not None:
            if prod(config.map) != representation:
                raise UnlogitError(
                    f"generator.map {config.map}: holds {prod(config.map):,} values, the representation "
                    f"{representation:,}; give the layer's C x H x W, and the layer with '?reduce=flatten'"
                )
            conditioning = config.map[0]
            # Among the blocks' inputs of 4, 8, ... px: the first that loses no position.
            self.entry = next(i for i in range(len(widths) - 1) if 4 << i >= max(config.map[1:]))
            self.entering_map = conv(config.map[0], widths[self.entry], 1, spectral_norm=config.spectral_norm)
        embedded = config.embedding or conditioning
        self.embed = (
            linear(conditioning, embedded, spectral_norm=False, bias=False) if config.embedding else nn.Identity()
        )
        entering = self.chunk + (embedded if config.condition_first else 0)
        self.first = linear(entering, 16 * widths[0], spectral_norm=config.spectral_norm)
        self.blocks = nn.ModuleList(
            GeneratorBlock(i, o, embedded + self.chunk, config) for i, o in itertools.pairwise(widths)
        )
        self.attention = nn.ModuleDict()
        if config.attention is not None:
            resolutions = [8 << i for i in range(len(self.blocks))]
            check_size(config.attention, resolutions)
            index = resolutions.index(config.attention)
            self.attention[str(index)] = Attention(widths[index + 1], spectral_norm=config.spectral_norm)
        self.last_norm = Normalise(widths[-1])
        self.last_gain = nn.Parameter(torch.ones(widths[-1]))
        self.last_bias = nn.Parameter(torch.zeros(widths[-1]))
        self.last = conv(widths[-1], 3, 3, spectral_norm=config.spectral_norm)

    def forward(self, representation: Tensor, noise: Tensor) -> Tensor:
        """Return pixels, N x 3 x S x S in [0, 1], of standardised representations, N x K, and noise, N x `noise`."""
        chunks = noise.split(self.chunk, dim=1)
        spatial = None if self.config.map is None else representation.unflatten(1, self.config.map)
        embedded = self.embed(representation if spatial is None else spatial.mean((2, 3)))
        entering = torch.cat([embedded, chunks[0]], dim=1) if self.config.condition_first else chunks[0]
        x = self.first(entering).view(len(noise), -1, 4, 4).contiguous(memory_format=torch.channels_last)
        for i, (block, chunk) in enumerate(zip(self.blocks, chunks[1:], strict=True)):
            condition = torch.cat([embedded, chunk], dim=1)
            if spatial is not None and i == self.entry:
                resized = F.interpolate(spatial, x.shape[-2:], mode="bilinear", align_corners=False)
                x = x + self.entering_map(resized)
            x = recomputed(block, x, condition) if self.recompute and x.requires_grad else block(x, condition)
            if str(i) in self.attention:
                x = self.attention[str(i)](x)
        x = self.last(F.relu(self.last_norm(x, self.last_gain, self.last_bias), inplace=True))
        return (torch.tanh(x.float()) + 1) / 2


@torch.no_grad()
def standing_statistics(generator: Generator, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Replace the batch-norm statistics that evaluation uses by averages over (representation, noise) batches.

    "Standing statistics" (Brock et al. 2018, appendix D): passes in training mode with the final, averaged weights. All
    ranks take part, each with its share of a batch.
    """
    norms = [m for m in generator.modules() if isinstance(m, Normalise)]
    was_training = generator.training
    # Spectral norm stays in evaluation mode: its vectors belong to the weights.
    generator.eval()
    for norm in norms:
        norm.batches.zero_()
        norm.accumulate = True
        norm.train()
    with torch.no_grad():
        for representation, noise in batches:
            generator(representation, noise)
    for norm in norms:
        norm.accumulate = False
        assert norm.batches > 0, "standing statistics need at least one batch"
    generator.train(was_training)


def folded(generator: Generator) -> Generator:
    """Return a copy in evaluation mode, without gradients, whose weights include the spectral norms."""
    config = replace(generator.config, spectral_norm=False)
    copy = Generator(generator.representation, config).to(next(generator.parameters()).device)
    was_training = generator.training
    generator.eval()  # Reading a normalised weight in training mode would take a power iteration.
    weights = {name: value for name, value in generator.state_dict().items() if ".parametrizations." not in name}
    for name, layer in generator.named_modules():
        if nn.utils.parametrize.is_parametrized(layer):
            weights[f"{name}.weight"] = layer.weight.detach()
    generator.train(was_training)
    copy.load_state_dict(weights)
    return copy.eval().requires_grad_(False)
