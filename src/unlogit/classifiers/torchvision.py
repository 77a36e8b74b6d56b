"""`torchvision:NAME`: any classifier of torchvision, with the preprocessing and class names of its weights.

`torchvision:resnet50` takes torchvision's best weights, `torchvision:resnet50?weights=IMAGENET1K_V1` those of that
name, `torchvision:resnet50?pretrained=false` random ones; for weights in a file see `checkpoint:`. `?size=128` feeds it
smaller images. Options are joined by `&`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torchvision import models

from unlogit.classifiers._assembling import adjusted, assemble
from unlogit.classifiers._base import Classifier, Preprocessing
from unlogit.classifiers._options import Side, canonical, read_options
from unlogit.errors import UnlogitError, first_line, unknown
from unlogit.settings import Checked

# Their heads for training alone are left out; transform_input turns ImageNet's usual normalisation into their own, as
# it does with torchvision's weights; and their own way to draw weights takes most of a minute.
INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": False}
SPECIAL = {"inception_v3": INCEPTION, "googlenet": INCEPTION}


def names() -> list[str]:
    """Every classifier; all have weights."""
    return models.list_models(module=models)


@dataclass(frozen=True)
class Options(Checked):
    """Options of this source; see the module."""

    pretrained: bool = True
    size: Side | None = None
    weights: str | None = None


def open_source(rest: str, spec: str) -> Classifier:
    """Open by name; raises `UnlogitError` for an unknown name or option, or weights that cannot be loaded."""
    name, options = read_options(Options, rest, spec)
    network: nn.Module
    weights = _weights(name, options.weights)
    if not options.pretrained:
        if options.weights:
            raise UnlogitError(f"classifier '{spec}': give weights or pretrained=false, not both")
        network, preprocessing = build(name, spec)
    else:
        network, preprocessing = _download(name, weights), _preprocessing(weights)
    spec = canonical(spec, name, options)
    return assemble(network, adjusted(preprocessing, options), spec, weights.meta["categories"])


def build(name: str, spec: str, classes: int | None = None) -> tuple[nn.Module, Preprocessing]:
    """A network of random weights, the same each time, and its preprocessing; `classes` of None takes its own."""
    weights = _weights(name, None)
    torch.manual_seed(0)  # since a spec names one classifier
    options: dict[str, Any] = SPECIAL.get(name, {}) | ({} if classes is None else {"num_classes": classes})
    return models.get_model(name, weights=None, **options), _preprocessing(weights)


def _weights(name: str, wanted: str | None) -> Any:
    """Return the member of the classifier's enumeration of weights."""
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=5)
        hint = f"did you mean {', '.join(close)}?" if close else "`unlogit list classifiers 'torchvision:*'` lists all"
        raise UnlogitError(f"unknown torchvision classifier '{name}': {hint}")
    members = models.get_model_weights(name)
    if wanted is None:
        return members.DEFAULT
    if wanted not in members.__members__:
        raise unknown(f"weights of torchvision's {name}", wanted, members.__members__)
    return members[wanted]


def _preprocessing(weights: Any) -> Preprocessing:
    """What its transforms do, less the resizing before the crop."""
    transforms = weights.transforms()
    interpolation = Preprocessing.resampling(transforms.interpolation.value)
    return Preprocessing(transforms.crop_size[0], tuple(transforms.mean), tuple(transforms.std), interpolation)


def _download(name: str, weights: Any) -> nn.Module:
    options = {"aux_logits": False} if name in SPECIAL else {}
    try:
        return models.get_model(name, weights=weights, **options)
    # Whatever went wrong on the way (no network, a full disk, a broken file), the remedy is the same.
    except Exception as error:
        raise UnlogitError(
            f"weights of 'torchvision:{name}' could not be downloaded ({first_line(error)}): with a file of them "
            f"({weights.url}), write 'checkpoint:FILE?arch=torchvision:{name}'"
        ) from error
