"""From any network over N x 3 x H x W to a classifier: whether it reads images, how many logits, its last layer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unlogit.classifiers._base import TRIAL_SIZE, Classifier, Preprocessing
from unlogit.classifiers._imagenet import imagenet_names
from unlogit.errors import UnlogitError, first_line

MANY = 10_000
"""Fewest classes of timm's own classifiers whose classes it cannot name."""


@dataclass(frozen=True)
class Head:
    """The end of a network.

    Attributes:
        name: of the last linear layer, in the way of `named_modules`.
        logits: how many there are.
    """

    name: str
    logits: int


@dataclass(frozen=True)
class Call:
    """One call of a module that has weights of its own.

    Attributes:
        name: of the module, in the way of `named_modules`.
        outputs: of a linear layer or convolution; None for any other module.
        values: in its output, per image.
    """

    name: str
    outputs: int | None
    values: int


@torch.no_grad()
def find_head(network: nn.Module, size: int, spec: str) -> Head:
    """Run grey images through a network, in evaluation mode and float32, and return the layer that gives the logits.

    That is the last linear layer or convolution that was *called* with as many outputs as there are logits: the order
    in which modules were defined says nothing, and heads for training alone (Inception's) are not called. Raises
    `UnlogitError` where the network cannot read images, returns no logits, or has no such layer: the features of a
    network without a head, for instance, are of that length too, but other layers come after.
    """
    if getattr(network, "num_classes", None) == 0:
        raise no_classifier(spec, "it returns features alone, num_classes=0")
    calls: list[Call] = []

    def note(name: str, outputs: int | None, _module: nn.Module, _args: object, output: object) -> None:
        calls.append(Call(name, outputs, output[:1].numel() if isinstance(output, Tensor) else 0))

    device = next(network.parameters(), torch.zeros(())).device
    with ExitStack() as hooks:
        for name, module in network.named_modules():
            outputs = None
            if isinstance(module, nn.Linear | nn.Conv2d):
                outputs = module.out_features if isinstance(module, nn.Linear) else module.out_channels
            elif next(module.parameters(recurse=False), None) is None:
                continue
            hooks.enter_context(module.register_forward_hook(partial(note, name, outputs)))
        try:
            logits = network.eval().float()(torch.zeros(2, 3, size, size, device=device))
        # A network may fail in any way of its own.
        except Exception as error:
            raise UnlogitError(
                f"classifier '{spec}' cannot read images of {size} px ({first_line(error)}): give another size"
            ) from error
    if not (isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == 2):
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise UnlogitError(f"classifier '{spec}' returns {got} for 2 images: must be logits, 2 x K")
    classes = logits.shape[1]
    position = next((i for i in reversed(range(len(calls))) if calls[i].outputs == classes), None)
    if position is None:
        raise UnlogitError(f"classifier '{spec}' has no linear layer with {classes} outputs, as its logits: add one")
    head = calls[position]
    # What contains the head ends after it.
    after = next((c.name for c in calls[position + 1 :] if c.name and not head.name.startswith(f"{c.name}.")), None)
    if after is not None and head.values > classes:
        raise no_classifier(spec, f"its layer '{after}' comes after the last one with {classes} outputs, '{head.name}'")
    return Head(head.name, classes)


def no_classifier(spec: str, reason: str) -> UnlogitError:
    """Return the error for a network that returns features or an embedding."""
    return UnlogitError(
        f"classifier '{spec}' has no classification head ({reason}): give weights with one, or train it"
    )


def assemble(
    network: nn.Module,
    preprocessing: Preprocessing,
    spec: str,
    class_names: Sequence[str] | None = None,
    head: str | None = None,
) -> Classifier:
    """Return a classifier of a network.

    Args:
        network: network from normalised N x 3 x H x W to logits N x K.
        preprocessing: preprocessing of pixels in [0, 1].
        spec: `source:name` that opens it again.
        class_names: one per logit; None takes ImageNet's for 1,000 logits and "class 0", "class 1" ... for others.
        head: name of the last linear layer where it is known; None finds it.
    """
    output_layer = find_head(network, preprocessing.size or TRIAL_SIZE, spec)
    if class_names is None:
        if _is_embedding(network):
            raise no_classifier(spec, f"its {output_layer.logits} outputs embed images beside text, see open_clip:")
        class_names = default_names(output_layer.logits)
    if len(class_names) != output_layer.logits:
        raise UnlogitError(f"classifier '{spec}' has {output_layer.logits} logits, but {len(class_names)} class names")
    return Classifier(network, preprocessing, class_names, head or output_layer.name, spec)


def _is_embedding(network: Any) -> bool:
    """Return whether timm's weights of this architecture with as many outputs embed images and text, as CLIP's do."""
    config = getattr(network, "pretrained_cfg", None)
    if not config:
        return False
    import timm  # Only its own networks have a configuration, so that no other has to wait for it.
    from timm.data import infer_imagenet_subset

    if network.num_classes >= MANY or infer_imagenet_subset(network):
        return False
    own = timm.list_models(f"{config['architecture']}.*", pretrained=True)
    return any(getattr(timm.get_pretrained_cfg(name), "num_classes", None) == network.num_classes for name in own)


def default_names(logits: int) -> tuple[str, ...]:
    """Return ImageNet's names for 1,000 logits; "class 0", "class 1" ... for any other number."""
    return imagenet_names() if logits == 1000 else tuple(f"class {index}" for index in range(logits))


def adjusted(preprocessing: Preprocessing, options: object) -> Preprocessing:
    """Return preprocessing with the options size, mean and std in place of its own, where they are given."""
    overrides = {key: getattr(options, key, None) for key in ("size", "mean", "std")}
    return replace(preprocessing, **{key: value for key, value in overrides.items() if value is not None})
