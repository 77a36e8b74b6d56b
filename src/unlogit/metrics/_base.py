"""Interface of per-image metrics: one signature for the analyses, the study and the explorer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unlogit.errors import UnlogitError
from unlogit.images import check_pixels

CHUNK = 64
"""Images measured at a time, which bounds the memory of the metrics that are networks."""

Measure = Callable[[Tensor, Tensor], Tensor]


class Unavailable(UnlogitError):
    """A known metric whose package or weights are not on this machine; the message says how to get them."""


@dataclass(frozen=True)
class Metric:
    """A similarity or distance of reconstructions and originals, one value per image.

    Attributes:
        name: name for `get`.
        title: name shown in reports.
        better: direction that means more similar.
        explanation: phrase that defines the metric, with its unit or range.
        measure: function from two batches of pixels to values, N.
    """

    name: str
    title: str
    better: Literal["higher", "lower"]
    explanation: str
    measure: Measure

    @torch.no_grad()
    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        """Return values, float32, N, of two batches N x 3 x H x W in [0, 1]; the i-th of each belong together."""
        check_pixels(originals, "originals")
        check_pixels(reconstructions, "reconstructions")
        if originals.shape != reconstructions.shape:
            shapes = f"{tuple(originals.shape)} and {tuple(reconstructions.shape)}"
            raise UnlogitError(
                f"originals and reconstructions of shapes {shapes}: must be the same; resize one of them"
            )
        pairs = zip(originals.split(CHUNK), reconstructions.split(CHUNK), strict=True)
        return torch.cat([self.measure(a, b).float() for a, b in pairs])

    def flip_aware(self) -> Metric:
        """Return the metric that takes the better of the reconstruction and its mirror image.

        Classifiers are trained to be invariant to horizontal flips, so that an inverter has to guess the side.
        """
        best = torch.maximum if self.better == "higher" else torch.minimum

        def measure(a: Tensor, b: Tensor) -> Tensor:
            return best(self.measure(a, b), self.measure(a, b.flip(3)))

        explanation = f"{self.explanation}; of the reconstruction or its mirror image, whichever is nearer"
        return Metric(f"{self.name}_flip", f"{self.title} (mirrored or not)", self.better, explanation, measure)
