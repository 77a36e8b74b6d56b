"""`timm:NAME`: any classifier of timm (pytorch-image-models), with the preprocessing of its weights.

`timm:resnetv2_50` takes the weights from timm's hub, `timm:hf-hub:owner/name` from anyone's there;
`timm:resnetv2_50?checkpoint=weights.safetensors` from a file, for any number of classes;
`timm:resnetv2_50?pretrained=false` leaves them random. `?size=128` feeds it smaller images than it was trained on,
which costs accuracy and saves time. Options are joined by `&`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import infer_imagenet_subset, resolve_data_config

from unlogit.classifiers._assembling import adjusted, assemble
from unlogit.classifiers._base import Classifier, Preprocessing
from unlogit.classifiers._hub import reach
from unlogit.classifiers._imagenet import imagenet_names
from unlogit.classifiers._options import Side, canonical, read_options
from unlogit.classifiers._weights import read_weights, with_weights
from unlogit.errors import UnlogitError, first_line
from unlogit.settings import Checked

HUB = "hf-hub:"
FILES = ("model.safetensors", "pytorch_model.bin")
"""What weights are called on the hub."""


def names() -> list[str]:
    """Every name with weights on timm's hub."""
    return timm.list_models(pretrained=True)


@dataclass(frozen=True)
class Options(Checked):
    """Options of this source; see the module."""

    checkpoint: Path | None = None
    pretrained: bool | None = None
    size: Side | None = None


def open_source(rest: str, spec: str) -> Classifier:
    """Open by name; raises `UnlogitError` for an unknown name or option, or weights that cannot be loaded."""
    name, options = read_options(Options, rest, spec)
    network: Any
    if options.checkpoint:
        if options.pretrained is not None:
            raise UnlogitError(f"classifier '{spec}': give checkpoint or pretrained, not both")
        file = options.checkpoint
        network, own = with_weights(f"timm:{name}", read_weights(file), file, spec)
    elif options.pretrained is False:
        network, own = build(name, spec)
    else:
        _check(name)
        network = _from_hub(name, pretrained=True)
        own = _preprocessing(network, spec)
    preprocessing = adjusted(own, options)
    if preprocessing.size != own.size and network.pretrained_cfg.get("fixed_input_size"):
        raise UnlogitError(f"classifier '{spec}' takes images of {own.size} px only: leave out size={options.size}")
    return assemble(network, preprocessing, canonical(spec, name, options), _class_names(network), _head(network))


def build(name: str, spec: str, classes: int | None = None) -> tuple[Any, Preprocessing]:
    """A network of random weights, the same each time, and its preprocessing; `classes` of None takes its own."""
    _check(name)
    torch.manual_seed(0)  # since a spec names one classifier
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    create = _from_hub if name.startswith(HUB) else timm.create_model
    network = create(name, pretrained=False, **options)
    return network, _preprocessing(network, spec)


def _preprocessing(network: Any, spec: str) -> Preprocessing:
    data = resolve_data_config({}, model=network)
    channels, size, _ = data["input_size"]
    if channels != 3:
        raise UnlogitError(f"classifier '{spec}' takes {channels} channels: must take 3, for RGB images")
    return Preprocessing(size, data["mean"], data["std"], Preprocessing.resampling(data["interpolation"]))


def _head(network: Any) -> str | None:
    """Return the name of the last layer, where timm knows it; the first of the two of distilled networks."""
    head = network.pretrained_cfg.get("classifier")
    return head[0] if isinstance(head, tuple | list) else head


def _class_names(network: Any) -> Sequence[str] | None:
    """What the weights' own configuration on the hub says, or the names of the subset of ImageNet of this size."""
    labels = network.pretrained_cfg.get("label_names")
    if labels and len(labels) == network.num_classes:
        return list(map(str, labels))
    subset = infer_imagenet_subset(network)
    return imagenet_names(subset) if subset else None


def _check(name: str) -> None:
    """Raise `UnlogitError` unless timm knows the name, with its tag; names of the Hub are not checked."""
    if name.startswith(HUB):
        return
    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        close = difflib.get_close_matches(base, timm.list_models(), n=5)
        hint = f"did you mean {', '.join(close)}?" if close else "`unlogit list classifiers 'timm:*'` lists all"
        raise UnlogitError(f"unknown timm classifier '{base}': {hint}")
    tagged = timm.list_models(f"{base}.*", pretrained=True)
    if tag and name not in tagged:
        raise UnlogitError(
            f"unknown weights '{tag}' of timm classifier '{base}': there are {', '.join(tagged) or 'none'}"
        )


def _from_hub(name: str, **options: Any) -> Any:
    try:
        config = None if name.startswith(HUB) else timm.get_pretrained_cfg(name)
        repo = config.hf_hub_id if config else name.removeprefix(HUB)
        if repo:
            reach(repo, FILES)
        return timm.create_model(name, **options)
    # Whatever went wrong on the way (no network, no such weights, a full disk), the remedy is the same.
    except Exception as error:
        raise UnlogitError(
            f"weights of 'timm:{name}' could not be downloaded ({first_line(error)}): "
            f"with a file of them, write 'timm:{'NAME' if name.startswith(HUB) else name}?checkpoint=FILE'"
        ) from error
