"""What every inverter is: a map from a classifier's representation, and noise where it has any, to a picture."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from unlogit.images import check_pixels
from unlogit.representation import Representation


class Inverter(nn.Module):
    """From representations to pictures.

    Attributes:
        name: shown in figures and tables.
        representation: the classifier's tap that is inverted.
        size: side of the reconstructions in pixels.
        aids: what beside the paper's single loss was used to make it, told in every figure.
    """

    name: str
    representation: Representation
    size: int
    aids: tuple[str, ...] = ()

    @abstractmethod
    def invert(self, raw: Tensor, noise: Tensor | None = None) -> Tensor:
        """Pictures N x 3 x S x S in [0, 1] of raw (not standardised) representations N x K.

        `noise` is what `sample_noise` returns; None draws it from torch's global generator.
        """

    def sample_noise(self, n: int, generator: torch.Generator | None = None) -> Tensor | None:
        """Noise for n pictures, or None where the method has none."""
        return None

    @torch.no_grad()
    def reconstruct(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        """What is left of pictures, N x 3 x H x W in [0, 1], of any size: inverts their representation."""
        check_pixels(images)
        return self.invert(self.representation.raw(images), noise)
