"""Settings of the methods of training beside the paper's; what each does is told where it is used, in `methods/`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from unlogit.settings import Betas, Bounds, Checked, Rate, Weight


@dataclass(frozen=True)
class ComparisonConfig(Checked):
    """What a reconstruction is compared with its original by, and how it is learned.

    Pixel errors are mean squares in the scale of [0, 1]. Feature errors are mean squares in units of the features' own
    standard deviation, so that 1 is about what a mean picture would have.
    """

    pixel: Weight = 1.0
    """Weight of the pixel error."""
    feature: Weight = 0.0
    """Weight of the feature error."""
    comparator: str | None = None
    """Whose features are compared, a classifier as source:name; None is the inverted one."""
    module: str = "penultimate"
    """Which: "logits", "penultimate" or a module by name, whose map is compared place by place."""
    learning_rate: Rate = 1e-3
    betas: Betas = (0.9, 0.999)
    """Of Adam."""

    @classmethod
    def prefix(cls) -> str:
        return "dosovitskiy2016b."


@dataclass(frozen=True)
class AdversarialComparisonConfig(ComparisonConfig):
    """The same, and a discriminator.

    Theirs, from their Caffe code's scale of halved sums over a picture, divided by their adversarial weight 100:
    pixels, 2e-6 x 1/2 x 3 x 227^2 x 255^2 / 100 = 100 times the mean square in [0, 1]; features, 0.01 x 1/2 x 9216 /
    100 = 0.46 times the mean square of AlexNet's pool5 in its own units. Its standard deviation is not published to us:
    the default is that for one of about 4.7.
    """

    pixel: Weight = 100.0
    feature: Weight = 10.0
    adversarial: Weight = 1.0
    """Weight of the adversarial loss; 0 leaves a plain comparison."""
    learning_rate: Rate = 2e-4

    @classmethod
    def prefix(cls) -> str:
        return "dosovitskiy2016a."


@dataclass(frozen=True)
class FlowConfig(Checked):
    """How the flow is learned."""

    learning_rate: Rate = 1e-3
    betas: Betas = (0.9, 0.99)
    """Of Adam."""
    steps: Annotated[int, Bounds(1, 100_000)] = 12
    """Of Heun's method, from noise to picture, in the inverter that is saved."""

    @classmethod
    def prefix(cls) -> str:
        return "flow."
