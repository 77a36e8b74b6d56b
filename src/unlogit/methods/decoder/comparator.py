"""The comparator of Dosovitskiy and Brox: the distance between two images in the features of a frozen network."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.classifiers import Classifier


class Comparator(nn.Module):
    """Mean squared difference of one module's output, in units of its standard deviation over all of its values.

    One constant for all values keeps the relative weights of channels, as in the plain sum of squares of the paper.
    """

    scale: Tensor

    def __init__(self, classifier: Classifier, module: str) -> None:
        super().__init__()
        # Not a submodule: the frozen network's weights are not part of what is trained or saved.
        self._classifier = [classifier]
        self.module = module
        self.register_buffer("scale", torch.ones((), device=classifier.mean.device))

    @property
    def classifier(self) -> Classifier:
        """The frozen network."""
        return self._classifier[0]

    def features(self, pixels: Tensor) -> Tensor:
        return self.classifier.features(pixels, [self.module])[self.module].float()

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Estimate the standard deviation around each value's mean on real images."""
        features = torch.cat([self.features(pixels) for pixels in batches])
        self.scale.copy_((features - features.mean(0)).square().mean().sqrt().clamp(min=1e-12))

    def forward(self, pixels: Tensor, originals: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.features(originals)
        return F.mse_loss(self.features(pixels), target) / self.scale**2
