"""The part of a method's configuration that the training loop reads."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar, Literal

from unlogit.errors import UnlogitError
from unlogit.settings import Checked

Sight = Literal["classifier", "training"]
"""Size at which an image reaches the classifier: the classifier's own, or the inverter's, as in training."""


class MethodConfig(Checked):
    """Base of the configuration of a trainable method, a frozen dataclass whose fields are its own options.

    Attributes:
        NAME: the method's folder in this package.
    """

    NAME: ClassVar[str]

    @property
    def size(self) -> int:
        """Side of the reconstructions in pixels."""
        raise NotImplementedError

    def check(self, layer: str) -> None:
        """Raise `UnlogitError` where the method cannot invert that layer with these options."""

    @property
    def turns(self) -> tuple[int, ...]:
        """Numbers of images seen at which the kind of step changes."""
        return ()

    @property
    def loss_d_range(self) -> tuple[float, float]:
        """Discriminator loss at chance level, and its minimum: by default those of a logistic loss."""
        return math.log(2), 0.0

    @property
    def deviations(self) -> tuple[str, ...]:
        """Deviations from the paper's single loss and discriminator, shown with every figure."""
        return (f"method {self.NAME}",)


def check_size(size: int, allowed: Iterable[int]) -> None:
    """Raise `UnlogitError` for a resolution that has no channel plan."""
    if size not in tuple(allowed):
        raise UnlogitError(f"image size {size}: must be one of {', '.join(map(str, allowed))}")
