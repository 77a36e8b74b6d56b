"""From any network over N x 3 x H x W to a classifier: whether it reads pictures, how many logits, its last layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from unlogit.classifiers._base import TRIAL_SIZE, Classifier, Preprocessing
from unlogit.classifiers._imagenet import imagenet_names
from unlogit.classifiers._options import triple
from unlogit.errors import UnlogitError, first_line


@dataclass(frozen=True)
class Head:
    """The end of a network.

    Attributes:
        name: of the last linear layer, in the way of `named_modules`.
        logits: how many there are.
    """

    name: str
    logits: int


@torch.no_grad()
def find_head(network: nn.Module, size: int, spec: str) -> Head:
    """Run one grey picture through a network, in evaluation mode, and see which layer spoke last.

    The last linear layer or convolution that was *called* with as many outputs as there are logits: the order in which
    modules were defined says nothing, and heads for training alone (Inception's) are not called. Raises `UnlogitError`
    where the network cannot read the picture, gives no logits, or has no such layer.
    """
    called: list[tuple[str, int]] = []

    def note(name: str, outputs: int, *_: object) -> None:
        called.append((name, outputs))

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            outputs = module.out_features if isinstance(module, nn.Linear) else module.out_channels
            hooks.append(module.register_forward_hook(partial(note, name, outputs)))
    first = next(network.parameters(), torch.zeros(()))
    picture = torch.zeros(2, 3, size, size, dtype=first.dtype, device=first.device)
    try:
        logits = network.eval()(picture)
    # A network may fail in any way of its own.
    except Exception as error:
        raise UnlogitError(
            f"classifier '{spec}' cannot read pictures of {size} px ({first_line(error)}): give another size"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    if not (isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == 2):
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise UnlogitError(f"classifier '{spec}' gives {got} for 2 pictures: must be logits, N x K")
    for name, outputs in reversed(called):
        if outputs == logits.shape[1]:
            return Head(name, outputs)
    raise UnlogitError(f"classifier '{spec}' has no linear layer with its {logits.shape[1]} logits: cannot be tapped")


def assemble(
    network: nn.Module,
    preprocessing: Preprocessing,
    spec: str,
    class_names: Sequence[str] | None = None,
    head: str | None = None,
) -> Classifier:
    """A classifier of a network.

    Args:
        network: over normalised N x 3 x H x W, giving logits N x K.
        preprocessing: from pixels in [0, 1].
        spec: opens it again.
        class_names: one a logit; None takes ImageNet's for 1,000 logits and "class 0", "class 1" ... for others.
        head: name of the last linear layer where it is known; None finds it.
    """
    found = find_head(network, preprocessing.size or TRIAL_SIZE, spec)
    if class_names is None:
        class_names = default_names(found.logits)
    if len(class_names) != found.logits:
        raise UnlogitError(f"classifier '{spec}' has {found.logits} logits, but {len(class_names)} class names")
    return Classifier(network, preprocessing, class_names, head or found.name, spec)


def default_names(logits: int) -> tuple[str, ...]:
    """ImageNet's names for 1,000 logits; "class 0", "class 1" ... for any other number."""
    return imagenet_names() if logits == 1000 else tuple(f"class {index}" for index in range(logits))


def adjusted(preprocessing: Preprocessing, options: Mapping[str, str]) -> Preprocessing:
    """With the options size, mean and std in place of its own, where they are given."""
    size = int(options["size"]) if "size" in options else preprocessing.size
    mean, std = (triple(options.get(key, getattr(preprocessing, key)), key) for key in ("mean", "std"))
    return replace(preprocessing, size=size, mean=mean, std=std)
