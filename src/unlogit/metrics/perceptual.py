"""Distances in the features of networks: LPIPS, ST-LPIPS, DISTS, and any classifier's penultimate layer.

Nothing is downloaded here. If weights are missing, `Unavailable` names the file and where to put it.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.classifiers import open_classifier
from unlogit.metrics._base import Measure, Metric, Unavailable

Net = Literal["alex", "vgg", "squeeze"]
BACKBONES = {
    "alex": ("alexnet", "AlexNet_Weights"),
    "vgg": ("vgg16", "VGG16_Weights"),
    "squeeze": ("squeezenet1_1", "SqueezeNet1_1_Weights"),
}
"""torchvision's names of the networks and their weights, by LPIPS's names."""
EXTRA = "pip install 'unlogit[metrics]'"


@functools.cache
def lpips(net: Net) -> Metric:
    """Return LPIPS 0.1 (Zhang et al. 2018) with that backbone."""
    _need("lpips", f"LPIPS ({net})")
    _need_backbone(net, f"LPIPS ({net})")
    import lpips as package

    explanation = f"LPIPS 0.1 of the {net} network: a distance fitted to human judgements, 0 for equal images"
    return Metric(
        f"lpips_{net}", f"LPIPS {net}", "lower", explanation, _pairwise(package.LPIPS, net=net, verbose=False)
    )


@functools.cache
def st_lpips(net: Literal["alex", "vgg"]) -> Metric:
    """Return shift-tolerant LPIPS (Ghildyal and Liu 2022), whose package contains all of its weights."""
    title = f"ST-LPIPS ({net})"
    for module in ("stlpips_pytorch", "IPython", "torchsummary"):  # The last two it imports without declaring them.
        _need(module, title)
    from stlpips_pytorch import stlpips  # type: ignore[import-untyped]

    explanation = f"shift-tolerant LPIPS of the {net} network: a shift by a pixel hardly changes it"
    measure = _pairwise(stlpips.LPIPS, net=net, variant="shift_tolerant", verbose=False)
    return Metric(f"st_lpips_{net}", f"ST-LPIPS {net}", "lower", explanation, measure)


@functools.cache
def dists() -> Metric:
    """Return DISTS (Ding et al. 2020): structure and texture in VGG-16's features."""
    _need("DISTS_pytorch", "DISTS")
    _need_backbone("vgg", "DISTS")
    from DISTS_pytorch import DISTS  # type: ignore[import-untyped]

    network = _quietly(DISTS).eval().requires_grad_(False)
    # For a single image it returns a scalar.
    measure: Measure = lambda a, b: network(a, b).reshape(len(a))  # noqa: E731
    explanation = "distance of structure and texture in VGG-16's features, tolerant to resampled textures; 0 to 1"
    return Metric("dists", "DISTS", "lower", explanation, measure)


@functools.cache
def features(spec: str) -> Metric:
    """Return the cosine between penultimate features of a classifier, preferably one that no training used."""
    network = open_classifier(spec)

    def measure(a: Tensor, b: Tensor) -> Tensor:
        of_a, of_b = (network.features(x, ["penultimate"])["penultimate"].flatten(1) for x in (a, b))
        return F.cosine_similarity(of_a, of_b)

    explanation = f"cosine between penultimate features of {spec}; 1 for equal images"
    return Metric(f"features:{spec}", f"cosine in {spec}", "higher", explanation, measure)


def _pairwise(make: Callable[..., nn.Module], **options: Any) -> Measure:
    """Return a function for LPIPS and ST-LPIPS, which expect [-1, 1] unless `normalize` is set."""
    network = _quietly(make, **options).eval().requires_grad_(False)
    return lambda a, b: network(a, b, normalize=True).flatten()


def _quietly(make: Callable[..., nn.Module], **options: Any) -> nn.Module:
    # Networks are initialised at random before their weights are loaded; do not advance the caller's random state.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # They use a deprecated interface of torchvision.
        return make(**options)


def _need(module: str, what: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise Unavailable(f"{what} needs the package {module}, which is not installed: {EXTRA}")


def _need_backbone(net: Net, what: str) -> None:
    """Raise `Unavailable` unless torchvision's weights are where torch.hub looks for them."""
    import torchvision

    maker, weights = BACKBONES[net]
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(getattr(torchvision.models, weights).IMAGENET1K_V1.url).name
    if not file.is_file():
        raise Unavailable(
            f"{what} needs weights that are not at {file}: run torchvision.models.{maker}(weights='IMAGENET1K_V1') "
            "once where there is a network"
        )
