"""Embeddings of images in spaces with meaningful distances: pixels, or the features of a network.

An embedding is N x F, and the distance of two images is the Euclidean one between their rows: so it can be averaged,
added along a path and split into parts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.classifiers import Classifier
from unlogit.images import check_pixels


class Embedding(ABC):
    """A space with distances.

    Attributes:
        name: name shown in captions.
    """

    name: str

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Return N x F, float, of images N x 3 x H x W in [0, 1]."""

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances of N images to N others of the same size, N."""
        return (self(a) - self(b)).norm(dim=1)


class Pixels(Embedding):
    """Pixel space: distance is the root mean squared difference of pixels, in [0, 1]."""

    name = "pixels"

    def __call__(self, images: Tensor) -> Tensor:
        return check_pixels(images).flatten(1) / images[0].numel() ** 0.5


class Features(Embedding):
    """Feature space of a classifier: its feature maps, the vector at each position normalised to length one.

    As LPIPS (Zhang et al. 2018) before its weights are fitted to human judgements, which according to its authors
    already agrees with people far better than pixels do. It uses the last map of every resolution from a quarter of
    the input's downwards and averages over them: distances are from 0 to 2.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.name = f"features of {classifier.spec}"
        self.maps = last_maps(classifier)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        features = self.classifier.features(images.to(self.classifier.mean.device), self.maps)
        parts = [self._unit(features[name]) for name in self.maps]
        return (torch.cat(parts, 1) / len(parts) ** 0.5).to(images.device)

    @staticmethod
    def _unit(features: Tensor) -> Tensor:
        if features.ndim == 2:
            return F.normalize(features.float(), dim=1)
        indices = features.shape[2] * features.shape[3]
        return F.normalize(features.float(), dim=1).flatten(1) / indices**0.5


@torch.no_grad()
def last_maps(classifier: Classifier) -> list[str]:
    """Return the names of the modules with the last map at each resolution from a quarter of the input's down.

    "penultimate" alone for a classifier without such maps, such as a vision transformer.
    """
    size = classifier.preprocessing.size or 64
    sides: dict[str, int] = {}
    with ExitStack() as hooks:
        for name, module in classifier.network.named_modules():
            # Blocks and their containers: modules inside a block hold intermediate values alone.
            if name and name.count(".") < 2 and not isinstance(module, nn.Identity):
                hook = module.register_forward_hook(lambda _m, _a, out, name=name: sides.update(_side(name, out)))
                hooks.enter_context(hook)
        classifier(torch.full((1, 3, size, size), 0.5, device=classifier.mean.device))
    # Dictionaries keep the order in which modules ran, so that the last of a resolution stays.
    last = {side: name for name, side in sides.items() if 1 < side <= size // 4}
    return list(last.values()) or ["penultimate"]


def _side(name: str, output: object) -> dict[str, int]:
    return {name: output.shape[-1]} if isinstance(output, Tensor) and output.ndim == 4 else {}
