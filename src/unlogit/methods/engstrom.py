"""Projected gradient descent on a robust classifier's representation (Engstrom et al. 2019): no training, no prior.

Engstrom, Ilyas, Santurkar, Tsipras, Tran and Madry, "Adversarial Robustness as a Prior for Learned Representations",
2019, equation 3: x' = x1 + argmin ||R(x1 + delta) - R(x2)||, from noise or another image x1, by steps of a fixed
length along the normalised gradient, projected to pixels and, with an epsilon, to an L2 ball around x1. With a robust
classifier the result looks like x2; with a standard one it does not, which is their finding.

Scale: a step of 1 in their notebooks refers to 224 px. The norm of a difference between images grows with their side,
so that a step here is `step_size` x S / 224.

Departs in the step's decay along half a cosine, with which hundreds of steps replace their 10,000, since a fixed length
does not converge. They invert the penultimate layer; the default here is the logits, as for all other methods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from unlogit import specs
from unlogit.methods._descent import DescentInverter, DescentOptions
from unlogit.representation import Representation
from unlogit.settings import Bounds, Rate

THEIR_SIZE = 224


@dataclass(frozen=True)
class Options(DescentOptions):
    """Options of Engstrom et al."""

    step_size: Rate = 2.0
    """Length of the first step for images of 224 px, in pixel values of [0, 1]."""
    epsilon: Annotated[float, Bounds(0, above=True, infinite=True)] = math.inf
    """Radius of the L2 ball around the starting image; the paper's value of 1000 has no effect."""


class EngstromInverter(DescentInverter):
    """Minimise the distance between representations alone."""

    options: Options

    def __init__(self, options: Options, representation: Representation | None = None) -> None:
        super().__init__(options, "Engstrom et al.", representation)

    def loss(self, pixels: Tensor, target: Tensor, step: int) -> Tensor:
        return self.relative_distance(pixels, target)

    def update(self, pixels: Tensor, gradient: Tensor, start: Tensor, step: int, state: dict[str, Tensor]) -> Tensor:
        length = self.options.step_size * self.size / THEIR_SIZE * self.decay(step)
        moved = pixels - length * gradient / _norm(gradient).clamp(min=1e-20)
        away = moved - start
        # The caller clips to [0, 1] afterwards, which never increases the distance from the start.
        return start + away * (self.options.epsilon / _norm(away).clamp(min=1e-20)).clamp(max=1)


def _norm(images: Tensor) -> Tensor:
    return images.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def open_source(rest: str, spec: str) -> EngstromInverter:
    """Open `engstrom:CLASSIFIER?option=value`."""
    return EngstromInverter(specs.read(Options, rest, spec, name_is="classifier")[1])
