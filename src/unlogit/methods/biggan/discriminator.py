"""The paper's discriminator D(x, z) = (w1 + W2 z) . Psi(x) (equation 2): BigGAN's, with a projection of the logits."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.methods._config import check_size
from unlogit.methods.biggan.config import DiscriminatorConfig
from unlogit.methods.biggan.layers import Attention, conv, conv_downsampled, linear

# Output widths of the blocks from full resolution down, in units of `channels`; the last block keeps its resolution.
WIDTHS = {32: (2, 4, 8, 8), 64: (2, 4, 8, 16, 16), 128: (1, 2, 4, 8, 16, 16)}


class DiscriminatorBlock(nn.Module):
    """Residual block: ReLU, 3x3, ReLU, 3x3, average pool; shortcut 1x1, average pool."""

    def __init__(self, inputs: int, outputs: int, *, down: bool, first: bool) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.conv1 = conv(inputs, outputs, 3, spectral_norm=True)
        self.conv2 = conv(outputs, outputs, 3, spectral_norm=True)
        self.shortcut = conv(inputs, outputs, 1, spectral_norm=True) if down or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x if self.first else F.relu(x))
        h = F.relu(h, inplace=True)
        if not self.down:
            return self.conv2(h).add_(self.shortcut(x))
        # A 1x1 convolution and average pooling commute.
        return conv_downsampled(h, self.conv2).add_(self.shortcut(F.avg_pool2d(x, 2)))


class Discriminator(nn.Module):
    """Map pixels and a representation to a score.

    Args:
        representation: length K of the representation.
        size: side of the images: 32, 64 or 128.

    Attributes:
        weights: weights of the scores' losses, in the order of the scores.
    """

    weights = (1.0,)

    def __init__(self, representation: int, size: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        check_size(size, WIDTHS)
        widths = [3, *(config.channels * w for w in WIDTHS[size])]
        last = len(widths) - 2
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(i, o, down=index < last, first=index == 0)
            for index, (i, o) in enumerate(itertools.pairwise(widths))
        )
        self.attention = nn.ModuleDict()
        if config.attention is not None:
            resolutions = [size >> (i + 1) for i in range(last)]
            check_size(config.attention, resolutions)
            index = resolutions.index(config.attention)
            self.attention[str(index)] = Attention(widths[index + 1], spectral_norm=True)
        self.unconditional = linear(widths[-1], 1, spectral_norm=True)
        self.projection = linear(representation, widths[-1], spectral_norm=True, bias=False)
        # A standardised representation has a norm near sqrt(K).
        self.projection_scale = representation**-0.5 if config.scale_projection else 1.0

    def extract_features(self, pixels: Tensor) -> list[Tensor]:
        """Return the input of the trained part: here the pixels themselves."""
        return [pixels]

    def score(self, features: list[Tensor], representation: Tensor) -> list[Tensor]:
        """Return the scores of the output of `extract_features`: one tensor, N."""
        (pixels,) = features
        x = (pixels * 2 - 1).contiguous(memory_format=torch.channels_last)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if str(i) in self.attention:
                x = self.attention[str(i)](x)
        psi = F.relu(x).sum((2, 3))
        projected = (self.projection(representation) * psi).sum(1)
        return [self.unconditional(psi).squeeze(1) + self.projection_scale * projected]

    def forward(self, pixels: Tensor, representation: Tensor) -> list[Tensor]:
        """Return one tensor of scores, N, of pixels N x 3 x S x S in [0, 1] and standardised representations N x K."""
        return self.score(self.extract_features(pixels), representation)
