"""Configuration of the decoder: its network, and the weights of its losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from unlogit.methods._config import MethodConfig
from unlogit.settings import Betas, Bounds, Channels, Checked, Rate, Weight, Width


@dataclass(frozen=True)
class DecoderConfig(Checked):
    """Shape of the decoder, and of the discriminator that mirrors it."""

    channels: Channels = 32
    """Width unit: each layer has a multiple of this number of channels. The paper uses 32 at 256 px."""
    hidden: Width = 1024
    """Width of the fully connected layers (paper: 4096)."""
    layers: Annotated[int, Bounds(0, 64)] = 2
    """Number of fully connected layers before the first spatial one."""

    @classmethod
    def prefix(cls) -> str:
        return "decoder."


@dataclass(frozen=True)
class DosovitskiyConfig(MethodConfig):
    """An up-convolutional decoder by pixel, feature and adversarial losses (Dosovitskiy and Brox 2016a, b).

    The defaults are the pixel loss alone of the CVPR paper (2016b); `DOSOVITSKIY_2016A` has those of the NeurIPS paper.
    Pixel errors are mean squares of values in [0, 1]. Feature errors are mean squares in units of the features' own
    standard deviation, so that the error of the mean image is about 1.
    """

    NAME: ClassVar[str] = "decoder"

    size: Width = 64
    """Side of the reconstruction in pixels: 32, 64 or 128."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    pixel: Weight = 1.0
    """Weight of the pixel error, the mean squared difference of values in [0, 1]."""
    feature: Weight = 0.0
    """Weight of the feature error, the mean squared difference in units of the features' standard deviation."""
    adversarial: Weight = 0.0
    """Weight of the adversarial loss; 0 trains no discriminator."""
    comparator: str | None = None
    """Classifier whose features are compared, as source:name. Default: the inverted classifier."""
    module: str = "penultimate"
    """Layer of the comparator: "logits", "penultimate" or the name of a module, whose map is compared position by
    position."""
    learning_rate: Rate = 1e-3
    """Learning rate of the decoder and the discriminator."""
    betas: Betas = (0.9, 0.999)
    """Betas of Adam, each in [0, 1)."""

    @property
    def deviations(self) -> tuple[str, ...]:
        return (f"method {'dosovitskiy2016a' if self.adversarial else 'dosovitskiy2016b'}",)


DOSOVITSKIY_2016A = DosovitskiyConfig(pixel=100.0, feature=10.0, adversarial=1.0, learning_rate=2e-4)
"""DeePSiM. The weights follow from the scale of halved sums over an image in their Caffe code, divided by their
adversarial weight of 100: pixels, 2e-6 x 1/2 x 3 x 227^2 x 255^2 / 100 = 100 times the mean square in [0, 1]; features,
0.01 x 1/2 x 9216 / 100 = 0.46 times the mean square of AlexNet's pool5 in its own units. Its standard deviation is not
published; 10 is the weight for one of about 4.7."""


CONFIG = DosovitskiyConfig
