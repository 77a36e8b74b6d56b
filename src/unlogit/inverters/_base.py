"""What every inverter is: a map from a classifier's representation, and noise where it has any, to a picture."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import Self

import torch
from torch import Tensor, nn

from unlogit.classifiers.fitted import lineage
from unlogit.errors import UnlogitError
from unlogit.identity import module_identity
from unlogit.images import ImageSource, check_pixels
from unlogit.outside import data
from unlogit.representation import Representation


class Inverter(nn.Module):
    """From representations to pictures. Always in evaluation mode, also inside a module that is trained.

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

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: batch statistics are part of what a finished inverter is."""
        return super().train(False)

    @abstractmethod
    def invert(self, raw: Tensor, noise: Tensor | None = None) -> Tensor:
        """Pictures N x 3 x S x S in [0, 1] of raw (not standardised) representations N x K.

        `noise` is what `sample_noise` returns; None draws it from torch's global generator.
        """

    def check(self, raw: Tensor, noise: Tensor | None = None) -> None:
        """Raise `UnlogitError` unless `raw` is N x K and finite, and `noise` (if given) what `sample_noise` returns."""
        if raw.ndim != 2 or raw.shape[1] != self.representation.dim:
            raise UnlogitError(
                f"representation of shape {tuple(raw.shape)}: this inverter reads N x {self.representation.dim} "
                f"({self.representation.tap} of {self.representation.classifier.spec})"
            )
        if not raw.isfinite().all():
            raise UnlogitError(
                "representation with non-finite values (NaN or inf): must be finite; find where they arise"
            )
        own = None if noise is None else self.sample_noise(1, torch.Generator())
        if noise is not None and own is not None and noise.shape != (len(raw), *own.shape[1:]):
            raise UnlogitError(
                f"noise of shape {tuple(noise.shape)}: must be {(len(raw), *own.shape[1:])}, as sample_noise returns it"
            )

    def fingerprint(self) -> str:
        """Return a digest of what decides its output: weights, options and code, its classifier, images it looks up."""
        classifier = self.representation.classifier
        told = [module_identity(self, without=classifier, unnamed=True), classifier.fingerprint()]
        told += [value.fingerprint() for value in vars(self).values() if isinstance(value, ImageSource)]
        return hashlib.sha256(data("\n".join(told))).hexdigest()[:16]

    def took_part(self) -> dict[str, str | None]:
        """Return the classifiers that had a part in making it: by spec the fingerprint of their weights, where known.

        The inverted one and those that its training started from.
        """
        classifier = self.representation.classifier
        unknown = dict.fromkeys(lineage(classifier.spec))
        return unknown | {classifier.spec: classifier.weights_fingerprint()}

    def sample_noise(self, n: int, generator: torch.Generator | None = None) -> Tensor | None:
        """Noise for n pictures, or None where the method has none."""
        return None

    @torch.no_grad()
    def reconstruct(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        """What is left of pictures, N x 3 x H x W in [0, 1], of any size: inverts their representation."""
        check_pixels(images)
        return self.invert(self.representation.raw(images), noise)
