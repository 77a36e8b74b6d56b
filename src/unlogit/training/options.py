"""Settings of the methods of training beside the paper's; what each does is told where it is used, in `methods/`."""

from __future__ import annotations

from dataclasses import dataclass

from unlogit.errors import UnlogitError


@dataclass(frozen=True)
class ComparisonConfig:
    """What a reconstruction is compared with its original by, and how it is learned.

    Pixel errors are mean squares in the scale of [0, 1]. Feature errors are mean squares in units of the features' own
    standard deviation, so that 1 is about what a mean picture would have.
    """

    pixel: float = 1.0
    """Weight of the pixel error."""
    feature: float = 0.0
    """Weight of the feature error."""
    comparator: str | None = None
    """Whose features are compared, a classifier as source:name; None is the inverted one."""
    module: str = "penultimate"
    """Which: "logits", "penultimate" or a module by name, whose map is compared place by place."""
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    """Of Adam."""

    def __post_init__(self) -> None:
        for name in ("pixel", "feature"):
            if getattr(self, name) < 0:
                raise UnlogitError(f"{name} weight {getattr(self, name)}: must not be negative")


@dataclass(frozen=True)
class AdversarialComparisonConfig(ComparisonConfig):
    """The same, and a discriminator.

    Theirs, from their Caffe code's scale of halved sums over a picture, divided by their adversarial weight 100:
    pixels, 2e-6 x 1/2 x 3 x 227^2 x 255^2 / 100 = 100 times the mean square in [0, 1]; features, 0.01 x 1/2 x 9216 /
    100 = 0.46 times the mean square of AlexNet's pool5 in its own units. Its standard deviation is not published to us:
    the default is that for one of about 4.7.
    """

    pixel: float = 100.0
    feature: float = 10.0
    adversarial: float = 1.0
    """Weight of the adversarial loss; 0 leaves a plain comparison."""
    learning_rate: float = 2e-4


@dataclass(frozen=True)
class FlowConfig:
    """How the flow is learned."""

    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    """Of Adam."""
    steps: int = 12
    """Of Heun's method, from noise to picture, in the inverter that is saved."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UnlogitError(f"flow steps {self.steps}: must be at least 1")
