"""`mini:NAME`: small networks of five architectures with random weights, to be trained at 32 px and compared.

`mini:resnet` is a pre-activation ResNet, `mini:plain` the same network without its shortcuts, `mini:inception` has
parallel 1x1, 3x3, 5x5 and pooling branches, `mini:vit` is a Vision Transformer and `mini:mixer` an MLP-Mixer.
`?logits=10` is the number of logits and `?seed=0` the random seed of the weights; join options by `&`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

import torch
from timm.layers import ConvNormAct
from timm.models.mlp_mixer import MlpMixer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.classifiers._assembling import default_names
from unlogit.classifiers._base import Classifier, Preprocessing
from unlogit.classifiers._options import canonical, read_options
from unlogit.classifiers.small import MEAN, STD, Block
from unlogit.errors import unknown
from unlogit.settings import Bounds, Checked, Seed

SIZE = 32
WIDTHS = (48, 96, 192)
"""Channels of the three stages of the convolutional networks, on 16, 8 and 4 positions a side."""
DEPTH = 2
"""Blocks per stage."""
TOKENS, LAYERS, PATCH = 128, 6, 4
"""Embedding width, number of blocks and side of a patch of the ViT and the Mixer."""


class PlainBlock(Block):
    """A `Block` without its shortcut: as deep, and without the shortcut's parameters."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride)
        del self.shortcut

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x)))))))


class InceptionBlock(nn.Module):
    """Four parallel branches, concatenated (Szegedy et al. 2015, figure 2b): 1x1, 3x3, 5x5, and pooling with 1x1."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        part = outputs // 4
        self.one = ConvNormAct(inputs, part, 1, stride)
        self.three = nn.Sequential(ConvNormAct(inputs, part, 1), ConvNormAct(part, part, 3, stride))
        self.five = nn.Sequential(ConvNormAct(inputs, part, 1), ConvNormAct(part, part, 5, stride))
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride, 1), ConvNormAct(inputs, part, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in (self.one, self.three, self.five, self.pool)], 1)


def convolutional(block: Callable[[int, int, int], nn.Module], classes: int) -> nn.Sequential:
    """Return a network of three stages of such blocks, made by (input channels, output channels, stride)."""
    stages = []
    before = WIDTHS[0]
    for position, width in enumerate(WIDTHS):
        first = block(before, width, 1 if position == 0 else 2)
        stages.append(nn.Sequential(first, *(block(width, width, 1) for _ in range(DEPTH - 1))))
        before = width
    parts: dict[str, nn.Module] = {
        "stem": nn.Conv2d(3, WIDTHS[0], 3, 2, 1, bias=False),
        "stages": nn.Sequential(*stages),
        "norm": nn.BatchNorm2d(before),
        "activation": nn.ReLU(),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "head": nn.Linear(before, classes),
    }
    network = nn.Sequential(OrderedDict(parts))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    return network


def _vit(classes: int) -> nn.Module:
    return VisionTransformer(SIZE, PATCH, num_classes=classes, embed_dim=TOKENS, depth=LAYERS, num_heads=4)


def _mixer(classes: int) -> nn.Module:
    return MlpMixer(classes, SIZE, patch_size=PATCH, num_blocks=LAYERS, embed_dim=TOKENS)


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "resnet": lambda classes: convolutional(Block, classes),
    "plain": lambda classes: convolutional(PlainBlock, classes),
    "inception": lambda classes: convolutional(InceptionBlock, classes),
    "vit": _vit,
    "mixer": _mixer,
}


def names() -> list[str]:
    """Return the architectures."""
    return list(NETWORKS)


@dataclass(frozen=True)
class Options(Checked):
    """Options of this source."""

    logits: Annotated[int, Bounds(2, 10**6)] = 10
    """Number of logits."""
    seed: Seed = 0
    """Random seed of the weights."""


def open_source(rest: str, spec: str) -> Classifier:
    """Make a network of random weights; raises `UnlogitError` for an unknown name or option."""
    name, options = read_options(Options, rest, spec)
    if name not in NETWORKS:
        raise unknown("mini classifier", name, NETWORKS)
    torch.manual_seed(options.seed)
    network, names = NETWORKS[name](options.logits), default_names(options.logits)
    return Classifier(network, Preprocessing(SIZE, MEAN, STD), names, "head", canonical(spec, name, options))
