"""What every inverter is: a map from a classifier's representation, and noise where it has any, to a picture."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import is_dataclass

import torch
from torch import Tensor, nn

from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, check_pixels
from unlogit.outside import data
from unlogit.representation import Representation

PLAIN = (str, int, float, tuple)
"""Of an inverter's attributes, those whose text says what they are."""


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
        """A digest of all that decides its answers: weights, its classifier's, options, and pictures it looks up."""
        plain = {
            name: value
            for name, value in sorted(vars(self).items())
            if name != "name" and not name.startswith("_") and (isinstance(value, PLAIN) or is_dataclass(value))
        }
        classifier = self.representation.classifier.fingerprint()
        digest = hashlib.sha256(data(f"{type(self).__name__} {self.representation.tap} {classifier} {plain}"))
        for value in vars(self).values():
            if isinstance(value, ImageSource):
                digest.update(data(value.fingerprint()))
        for name, tensor in (*self.named_parameters(), *self.named_buffers()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def sample_noise(self, n: int, generator: torch.Generator | None = None) -> Tensor | None:
        """Noise for n pictures, or None where the method has none."""
        return None

    @torch.no_grad()
    def reconstruct(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        """What is left of pictures, N x 3 x H x W in [0, 1], of any size: inverts their representation."""
        check_pixels(images)
        return self.invert(self.representation.raw(images), noise)
