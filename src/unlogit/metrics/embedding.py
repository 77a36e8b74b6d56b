"""Where images lie in a space in which distance means something: by pixel, or by what a network sees.

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
        name: how captions call it.
    """

    name: str

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """N x F, float, of images N x 3 x H x W in [0, 1]."""

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances of N images to N others of the same size, N."""
        return (self(a) - self(b)).norm(dim=1)


class Pixels(Embedding):
    """Distance is the root mean squared difference of pixels, in [0, 1]."""

    name = "pixels"

    def __call__(self, images: Tensor) -> Tensor:
        return check_pixels(images).flatten(1) / images[0].numel() ** 0.5


class Features(Embedding):
    """Distance is that between feature maps of a classifier, each place's vector at length one.

    As LPIPS (Zhang et al. 2018) before its weights are fitted to human judgements: its authors found that this
    already agrees with people far better than pixels do. Taken are the last maps of every resolution from a quarter
    of the input's downwards, and the mean over them: distances are from 0 to 2.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.name = f"features of {classifier.spec}"
        self.maps = last_maps(classifier)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        found = self.classifier.features(images.to(self.classifier.mean.device), self.maps)
        parts = [self._unit(found[name]) for name in self.maps]
        return (torch.cat(parts, 1) / len(parts) ** 0.5).to(images.device)

    @staticmethod
    def _unit(features: Tensor) -> Tensor:
        if features.ndim == 2:
            return F.normalize(features.float(), dim=1)
        indices = features.shape[2] * features.shape[3]
        return F.normalize(features.float(), dim=1).flatten(1) / indices**0.5


@torch.no_grad()
def last_maps(classifier: Classifier) -> list[str]:
    """Names of the modules that give a classifier's last map at each resolution from a quarter of the input's down.

    "penultimate" alone where it has no such maps, as a vision transformer.
    """
    size = classifier.preprocessing.size or 64
    sides: dict[str, int] = {}
    with ExitStack() as hooks:
        for name, module in classifier.network.named_modules():
            # Blocks and what holds them: inside a block there is no more than a part of a step.
            if name and name.count(".") < 2 and not isinstance(module, nn.Identity):
                hook = module.register_forward_hook(lambda _m, _a, out, name=name: sides.update(_side(name, out)))
                hooks.enter_context(hook)
        classifier(torch.full((1, 3, size, size), 0.5, device=classifier.mean.device))
    # Dictionaries keep the order in which modules ran, so that the last of a resolution stays.
    last = {side: name for name, side in sides.items() if 1 < side <= size // 4}
    return list(last.values()) or ["penultimate"]


def _side(name: str, output: object) -> dict[str, int]:
    return {name: output.shape[-1]} if isinstance(output, Tensor) and output.ndim == 4 else {}
