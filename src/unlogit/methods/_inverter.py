"""The base class of inverters: maps from a classifier's representation, and optional noise, to an image."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import ClassVar, Self, get_args

import torch
from torch import Tensor, nn

from unlogit.classifiers.fitted import lineage
from unlogit.errors import UnlogitError, unknown
from unlogit.identity import module_identity
from unlogit.images import AnyImages, ImageSource, read_images, square
from unlogit.methods._config import Sight
from unlogit.outside import data
from unlogit.representation import Representation


class Inverter(nn.Module):
    """Map representations to images. Always in evaluation mode, also inside a module that is trained.

    Attributes:
        DIFFERENTIABLE: whether `invert` can return gradients.
        name: name shown in figures and tables.
        representation: representation of the classifier that is inverted.
        size: side of the reconstructions in pixels.
        deviations: deviations from the paper, shown with every figure.
    """

    DIFFERENTIABLE: ClassVar[bool] = False
    name: str
    representation: Representation
    size: int
    deviations: tuple[str, ...] = ()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, since a finished inverter uses fixed batch statistics."""
        return super().train(False)

    def invert(
        self, raw: Tensor, noise: Tensor | None = None, *, seed: int | None = None, gradients: bool = False
    ) -> Tensor:
        """Return reconstructions N x 3 x S x S in [0, 1] of representations.

        Args:
            raw: N x K, not standardised, such as logits as the classifier returns them.
            noise: as `sample_noise` returns it; None draws it.
            seed: random seed of noise that is the same for all rows; None draws from torch's global generator.
            gradients: whether the result has gradients with respect to `raw` and `noise`, for methods whose inversion
                is a network.

        Raises:
            UnlogitError: the shape is wrong, a value is not finite, both `noise` and `seed` are given, or the method
                has no gradients.
        """
        if noise is not None and seed is not None:
            raise UnlogitError("noise and seed cannot be combined: give one of them")
        if gradients and not self.DIFFERENTIABLE:
            raise UnlogitError(f"inverter '{self.name}' has no gradients: use one that was trained, or gradients=False")
        self.check(raw, noise)
        if seed is not None and (own := self.sample_noise(1, torch.Generator().manual_seed(seed))) is not None:
            noise = own.expand(len(raw), *own.shape[1:])
        elif noise is None:
            noise = self.sample_noise(len(raw))
        with torch.set_grad_enabled(gradients):
            return self._invert(raw, None if noise is None else noise.to(raw.device))

    @abstractmethod
    def _invert(self, raw: Tensor, noise: Tensor | None) -> Tensor:
        """Return reconstructions of checked arguments; `noise` is None where the method has none."""

    def __repr__(self) -> str:
        classifier = self.representation.classifier
        return (
            f"{type(self).__name__} '{self.name}'\n"
            f"  layer {self.representation.layer} ({self.representation.dim:,} values) of {classifier.spec}\n"
            f"  {self.side()} px to {self.size} px; {', '.join(self.history()) or 'no training'}"
        )

    def history(self) -> list[str]:
        """Return facts about the training and the deviations, a few words each, for `repr`."""
        return list(self.deviations)

    def check(self, raw: Tensor, noise: Tensor | None = None) -> None:
        """Raise `UnlogitError` unless `raw` is N x K and finite, and `noise` (if given) what `sample_noise` returns."""
        if raw.ndim != 2 or raw.shape[1] != self.representation.dim:
            raise UnlogitError(
                f"representation of shape {tuple(raw.shape)}: this inverter reads N x {self.representation.dim} "
                f"({self.representation.layer} of {self.representation.classifier.spec})"
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
        """Return a digest of all that decides the output: weights, options, code, the classifier and stored images."""
        classifier = self.representation.classifier
        parts = [module_identity(self, without=classifier, unnamed=True), classifier.fingerprint()]
        parts += [value.fingerprint() for value in vars(self).values() if isinstance(value, ImageSource)]
        return hashlib.sha256(data("\n".join(parts))).hexdigest()[:16]

    def took_part(self) -> dict[str, str | None]:
        """Return the classifiers that took part in training: their weights' fingerprints by spec, None where unknown.

        These are the inverted classifier and those that its training started from.
        """
        classifier = self.representation.classifier
        ancestors = dict.fromkeys(lineage(classifier.spec))
        return ancestors | {classifier.spec: classifier.weights_fingerprint()}

    def sample_noise(self, n: int, generator: torch.Generator | None = None) -> Tensor | None:
        """Return noise for n images, or None where the method has none."""
        return None

    def side(self, view: Sight = "classifier") -> int:
        """Return the largest side in pixels at which images reach the classifier.

        A classifier without an input size of its own reads images at the inverter's size.
        """
        if view not in (allowed := get_args(Sight)):
            raise unknown("view", view, allowed)
        return (self.representation.classifier.preprocessing.size if view == "classifier" else None) or self.size

    def views(self, images: AnyImages, view: Sight = "classifier") -> list[Tensor]:
        """Return the centre squares of images as the classifier reads them, in batches of N x 3 x S x S in [0, 1].

        Args:
            images: as for `reconstruct`.
            view: "classifier" shrinks images to the classifier's input size; "training" to the inverter's size, which
                is what the classifier read when the inverter was trained. Smaller images keep their size.
        """
        side, device = self.side(view), self.representation.shift.device
        return [square(batch.to(device), side) for batch in read_images(images)]

    @torch.no_grad()
    def reconstruct(
        self, images: AnyImages, noise: Tensor | None = None, *, seed: int | None = None, view: Sight = "classifier"
    ) -> Tensor:
        """Reconstruct images from their representation, as N x 3 x S x S in [0, 1].

        Args:
            images: a path, a PIL image, an array or tensor (3 x H x W or N x 3 x H x W, floating point in [0, 1] or
                uint8; uint8 arrays also H x W x 3), or a list of them. The centre square of each image is used.
            noise: as `sample_noise` returns it; None draws it.
            seed: random seed of noise that is the same for all images; None draws from torch's global generator.
            view: see `views`.

        Raises:
            UnlogitError: images or noise have another type or shape, or both `noise` and `seed` are given.
            BrokenImage: a file is missing or cannot be decoded.
        """
        raw = torch.cat([self.representation.raw(batch) for batch in self.views(images, view)])
        return self.invert(raw, noise, seed=seed)
