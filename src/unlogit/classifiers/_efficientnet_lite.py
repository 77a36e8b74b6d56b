"""EfficientNet-Lite (Tan and Le 2019) in torch alone: importing timm, whose network it equals, takes longer than torch.

Lite is EfficientNet with ReLU6 in place of SiLU, without squeeze-and-excitation, and with a stem and a head that the
width does not scale. Modules have timm's names, so that layers and weights are called as in `tf_efficientnet_lite0`.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

STAGES = ((1, 3, 1, 16), (6, 3, 2, 24), (6, 5, 2, 40), (6, 3, 2, 80), (6, 5, 1, 112), (6, 5, 2, 192), (6, 3, 1, 320))
"""Expansion, kernel, stride and output channels of each stage, before scaling."""
REPEATS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage, before scaling, which leaves the first and last stage as they are."""
SCALES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""Factors of width and depth."""
STEM, HEAD = 32, 1280
"""Channels of the first and of the last convolution."""
EPSILON = 1e-3
"""TensorFlow's, for batch norms."""


def pad_same(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Return a convolution's input with TensorFlow's padding, whose odd pixel comes after the image, not before it."""
    geometry = zip(x.shape[-2:], layer.kernel_size, layer.stride, layer.dilation, strict=True)
    rows, columns = (
        max((math.ceil(side / stride) - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)
        for side, kernel, stride, dilation in geometry
    )
    return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


class SamePadConv(nn.Conv2d):
    """A strided convolution with TensorFlow's padding."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(pad_same(x, self))


class NormAct(nn.BatchNorm2d):
    """A batch norm and the activation after it; weights are called as the norm's."""

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__(channels, eps=EPSILON)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.act(super().forward(x))
        return activated


class Block(nn.Sequential):
    """An inverted residual: 1x1 to more channels, depthwise, 1x1 to fewer; without expansion, the last two."""

    def __init__(self, before: int, after: int, expansion: int, kernel: int, stride: int) -> None:
        inner = expansion * before
        last, norm = ("conv_pw", "bn2") if expansion == 1 else ("conv_pwl", "bn3")
        layers: list[tuple[str, nn.Module]] = []
        if expansion > 1:
            layers += [("conv_pw", convolution(before, inner, 1)), ("bn1", NormAct(inner, nn.ReLU6(inplace=True)))]
        layers += [("conv_dw", convolution(inner, inner, kernel, stride, inner))]
        layers += [("bn1" if expansion == 1 else "bn2", NormAct(inner, nn.ReLU6(inplace=True)))]
        layers += [(last, convolution(inner, after, 1)), (norm, NormAct(after, nn.Identity()))]
        super().__init__(OrderedDict(layers))
        self.shortcut = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = super().forward(x)
        return changed + x if self.shortcut else changed


class EfficientNetLite(nn.Sequential):
    """From normalised images to 1,000 logits, with torch's initialisation.

    Args:
        name: "lite0", "lite1" or "lite2".
    """

    def __init__(self, name: str) -> None:
        width, depth = SCALES[name]
        stages, before = [], STEM
        for position, ((expansion, kernel, stride, channels), repeats) in enumerate(zip(STAGES, REPEATS, strict=True)):
            scaled = 0 < position < len(STAGES) - 1
            blocks: list[nn.Module] = []
            for number in range(math.ceil(repeats * depth) if scaled else repeats):
                after = _multiple_of_8(channels * width)
                blocks.append(Block(before, after, expansion, kernel, stride if number == 0 else 1))
                before = after
            stages.append(nn.Sequential(*blocks))
        layers: dict[str, nn.Module] = {
            "conv_stem": convolution(3, STEM, 3, 2),
            "bn1": NormAct(STEM, nn.ReLU6(inplace=True)),
            "blocks": nn.Sequential(*stages),
            "conv_head": convolution(before, HEAD, 1),
            "bn2": NormAct(HEAD, nn.ReLU6(inplace=True)),
            "global_pool": nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())),
            "classifier": nn.Linear(HEAD, 1000),
        }
        super().__init__(OrderedDict(layers))


def convolution(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a convolution without bias whose output has 1 / stride of the input's side, rounded up."""
    if stride == 1:  # The padding is then the same on both sides.
        return nn.Conv2d(before, after, kernel, padding=kernel // 2, groups=groups, bias=False)
    return SamePadConv(before, after, kernel, stride, groups=groups, bias=False)


def _multiple_of_8(channels: float) -> int:
    """Return the closest multiple of 8; the next one where that would lose more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
