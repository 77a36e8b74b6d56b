"""The up-convolutional decoder of Dosovitskiy and Brox (2016a, b), and the discriminator of the first.

Up-convolution: Dosovitskiy and Brox, "Inverting Visual Representations with Convolutional Networks", CVPR 2016
(section 3.1); the discriminator: "Generating Images with Perceptual Similarity Metrics based on Deep Networks",
NeurIPS 2016 (section 3). Fully connected layers, then one up-convolution and one plain convolution per resolution,
leaky ReLU of slope 0.3, no normalisation. Departs in widths, which follow the image's size instead of AlexNet's, and in
the up-convolution: a 4x4 transposed convolution of stride 2, as in 2016a, for both.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.methods._config import check_size
from unlogit.methods.decoder.config import DecoderConfig

SLOPE = 0.3
# Widths of the feature maps from 4x4 up, in units of `channels`; the discriminator's in reverse order.
WIDTHS = {32: (8, 8, 4, 2), 64: (8, 8, 4, 2, 1), 128: (16, 16, 8, 4, 2, 1)}


class Decoder(nn.Module):
    """Map a representation to the image that it most likely came from, without noise.

    Args:
        representation: length K of the representation.
        size: side of the images: 32, 64 or 128.
    """

    def __init__(self, representation: int, size: int, config: DecoderConfig) -> None:
        super().__init__()
        check_size(size, WIDTHS)
        self.representation, self.size, self.config = representation, size, config
        widths = [config.channels * w for w in WIDTHS[size]]
        vectors = [representation, *[config.hidden] * config.layers, 16 * widths[0]]
        self.vectors = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(vectors))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(i, o, 4, 2, 1) for i, o in itertools.pairwise(widths))
        self.convs = nn.ModuleList(nn.Conv2d(o, o, 3, 1, 1) for o in widths[1:])
        self.last = nn.Conv2d(widths[-1], 3, 3, 1, 1)
        _he(self)

    def forward(self, representation: Tensor) -> Tensor:
        """Return pixels, N x 3 x S x S in [0, 1], of standardised representations, N x K."""
        x = representation
        for layer in self.vectors:
            x = F.leaky_relu(layer(x), SLOPE)
        x = x.view(len(x), -1, 4, 4).contiguous(memory_format=torch.channels_last)
        for up, conv in zip(self.ups, self.convs, strict=True):
            x = F.leaky_relu(conv(F.leaky_relu(up(x), SLOPE)), SLOPE)
        # The paper's output is linear; all inverters here return pixels in [0, 1].
        return self.last(x).float().sigmoid()


class JointDiscriminator(nn.Module):
    """Score whether an image is real, given its representation, which is joined after the convolutions (2016a)."""

    def __init__(self, representation: int, size: int, config: DecoderConfig) -> None:
        super().__init__()
        check_size(size, WIDTHS)
        widths = [3, *(config.channels * w for w in reversed(WIDTHS[size]))]
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 5 if index == 0 else 3, 1 if index == len(widths) - 2 else 2, 2 if index == 0 else 1)
            for index, (i, o) in enumerate(itertools.pairwise(widths))
        )
        hidden = config.hidden // 2
        self.vectors = nn.Sequential(
            nn.Linear(representation, hidden), nn.LeakyReLU(SLOPE), nn.Linear(hidden, hidden), nn.LeakyReLU(SLOPE)
        )
        self.joint = nn.Sequential(nn.Linear(widths[-1] + hidden, hidden), nn.LeakyReLU(SLOPE), nn.Linear(hidden, 1))
        _he(self)

    def forward(self, pixels: Tensor, representation: Tensor) -> Tensor:
        """Return the logit of "real", N, of pixels N x 3 x S x S in [0, 1] and standardised representations N x K."""
        x = (pixels * 2 - 1).contiguous(memory_format=torch.channels_last)
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
        return self.joint(torch.cat([x.mean((2, 3)), self.vectors(representation)], 1)).squeeze(1)


def _he(network: nn.Module) -> None:
    """Initialise weights for leaky ReLUs (He et al. 2015), and biases with zero."""
    for layer in network.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            continue
        if isinstance(layer, nn.ConvTranspose2d):
            # Each position of the output meets a quarter of the kernel.
            deviation = nn.init.calculate_gain("leaky_relu", SLOPE) * (layer.in_channels * 4) ** -0.5
            nn.init.normal_(layer.weight, std=deviation)
        else:
            nn.init.kaiming_normal_(layer.weight, SLOPE)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
