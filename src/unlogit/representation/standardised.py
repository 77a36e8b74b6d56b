"""Representation of an image at one layer of a frozen classifier, and its standardisation."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from unlogit.classifiers import Classifier
from unlogit.errors import UnlogitError
from unlogit.representation.layers import Layer

FLOOR = 0.1
"""Minimum scale, as a share of the mean deviation. A channel that is dead on the training images may fire on others:
with a thousandth, EfficientNet-Lite0's penultimate layer reached 4,000 on held-out scenes, with a tenth 49. Logits vary
more evenly (their minimum there is 0.57 of the mean), so that the minimum does not affect them."""


class Representation(nn.Module):
    """A layer of a classifier, with a fixed affine standardisation, (raw - shift) / scale, dimension by dimension.

    Users manipulate raw values; inverters standardise them inside. Raw logits have a norm far above a one-hot's, so
    that a projection discriminator would swamp the hinge margin; dividing each vector by its own norm instead would
    remove the scale and shift that the paper studies.

    Args:
        layer: "logits"; "label", the one-hot of the predicted class; "softmax"; "log-softmax"; "softmax-top5", whose
            other values are 0; "penultimate"; or the name of a module.
            A spatial map (or tokens) is averaged over positions; "NAME?reduce=max" takes the largest value of each
            channel instead, "NAME?reduce=flatten" every value (at most 65,536), and "NAME?reduce=first" the first
            token, which in Vision Transformers is the one for the class.
        shift, scale: constants, length K each; the identity until `fit` by default.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, classifier: Classifier, layer: str = "logits", shift: Tensor | None = None, scale: Tensor | None = None
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.layer = layer
        self.reduce = Layer.parse(layer)
        dim = self.reduce.length(classifier)
        self.register_buffer("shift", torch.zeros(dim) if shift is None else shift)
        self.register_buffer("scale", torch.ones(dim) if scale is None else scale)
        if not self.shift.shape == self.scale.shape == (dim,):
            raise UnlogitError(
                f"standardisation of {tuple(self.shift.shape)} and {tuple(self.scale.shape)} values for {layer} of "
                f"{classifier.spec}, which has {dim}: it belongs to another classifier or layer"
            )

    @property
    def dim(self) -> int:
        """Length K of the representation."""
        return len(self.shift)

    @property
    def module(self) -> str:
        """Name of the classifier's output that the layer is computed from, for `Classifier.features`."""
        return self.reduce.module

    @torch.no_grad()
    def raw(self, pixels: Tensor) -> Tensor:
        """Return N x K, float32, of pixels N x 3 x H x W in [0, 1]."""
        return self.encode(pixels)

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the same as `raw`, with gradients with respect to the pixels."""
        return self.reduce(self.classifier.features(pixels, [self.module])[self.module])

    forward = raw

    def standardise(self, raw: Tensor) -> Tensor:
        """Return the condition of inverters: (raw - shift) / scale."""
        return (raw - self.shift) / self.scale

    def fit(self, batches: Iterable[Tensor]) -> Representation:
        """Estimate the constants on batches of training images; return itself.

        Shift is the mean and scale the standard deviation of each dimension, at least a tenth of the mean
        deviation. A one-hot label is left unchanged. Raises `UnlogitError` for non-finite values, or if no dimension
        varies.
        """
        if self.layer == "label":
            return self
        raw = torch.cat([self.raw(pixels) for pixels in batches])
        deviation, mean = torch.std_mean(raw, dim=0)
        if not deviation.isfinite().all() or not deviation.any():
            problem = "is the same for all" if deviation.isfinite().all() else "is not a number for some"
            raise UnlogitError(
                f"layer '{self.layer}' of {self.classifier.spec} {problem} of {len(raw)} images: choose another"
            )
        self.shift.copy_(mean)
        self.scale.copy_(deviation.clamp(min=max(FLOOR * float(deviation.mean()), 1e-12)))
        return self
