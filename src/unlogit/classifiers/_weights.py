"""Weights from a file, put into an architecture of timm or torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from timm.models import load_state_dict
from torch import Tensor, nn

from unlogit import registry
from unlogit.checksums import damage
from unlogit.classifiers._assembling import Head, find_head
from unlogit.classifiers._base import TRIAL_SIZE, Preprocessing
from unlogit.errors import UnlogitError, first_line, one_line, unknown

LIBRARIES = ("timm", "torchvision")
"""Sources whose modules have `build(name, spec, classes)`."""

AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
"""Heads that are used in training alone, left out here."""


def build(arch: str, spec: str, classes: int | None = None) -> tuple[nn.Module, Preprocessing]:
    """A network of random weights, and its library's preprocessing for it.

    Args:
        arch: such as timm:resnet50 or torchvision:resnet50.
        spec: spec of the classifier, named in errors.
        classes: number of logits; None for the architecture's own.
    """
    library, colon, name = arch.partition(":")
    if not colon:
        raise UnlogitError(f"architecture '{arch}' of '{spec}': write it as timm:{arch} or torchvision:{arch}")
    if library not in LIBRARIES:
        raise unknown(f"library of '{spec}'", library, LIBRARIES)
    network, preprocessing = registry.module("unlogit.classifiers", library, "library").build(name, spec, classes)
    return network, preprocessing


def read_weights(
    path: Path, advice: str = "must be a state dict of tensors alone, best as .safetensors"
) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a torch checkpoint, whose pickle may hold nothing that runs.

    The usual wrappings ("state_dict", "model", an average, "module.") are taken off. Raises `UnlogitError`, with
    `advice`, for anything else.
    """
    if wrong := damage(path):
        raise UnlogitError(f"checkpoint '{path}' is damaged ({wrong}): copy it again")
    try:
        weights: dict[str, Tensor] = load_state_dict(str(path), weights_only=True)
    # torch and safetensors have many errors for a file that is something else, an image or a pickle of objects.
    except Exception as error:
        raise UnlogitError(f"checkpoint '{path}' cannot be read ({first_line(error)}): {advice}") from error
    if not weights or not all(_is_plain(value) for value in weights.values()):
        raise UnlogitError(f"checkpoint '{path}' must hold named tensors only: {advice}")
    return weights


def _is_plain(value: object) -> bool:
    """Whether it is a tensor with values of its own, not a sparse, quantised or empty shell of one."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_meta or value.is_quantized)


def with_weights(arch: str, weights: dict[str, Tensor], path: Path, spec: str) -> tuple[nn.Module, Preprocessing]:
    """The architecture with these weights; the number of classes is that of the weights of its last layer.

    Raises `UnlogitError` that names the first tensor which is missing, left over or of another shape.
    """
    network: Any
    network, preprocessing = build(arch, spec)
    if getattr(network, "num_classes", None) == 0:  # Without a head by default, which these weights may have.
        head = Head(str(network.pretrained_cfg["classifier"]), 0)
    else:
        head = find_head(network, preprocessing.size or TRIAL_SIZE, spec)
    rows = weights.get(f"{head.name}.weight")
    if rows is not None and len(rows) != head.logits:
        network, preprocessing = build(arch, spec, len(rows))
    own = network.state_dict()
    unused = tuple(part for part in AUXILIARY if not any(key.startswith(part) for key in own))
    weights = {key: value for key, value in weights.items() if not key.startswith(unused)}
    # Counters of batches came to torch later than some weights, and evaluation does not read them.
    weights = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")} | weights
    problem = _misfit(own, weights)
    if problem:
        raise UnlogitError(f"checkpoint '{path}' does not fit '{arch}': {problem}")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:  # Tensors without values (of the meta device), sparse or quantised ones.
        raise UnlogitError(
            f"checkpoint '{path}' cannot be loaded into '{arch}' ({one_line(error)}): save plain dense tensors"
        ) from error
    return network, preprocessing


def _misfit(own: dict[str, Tensor], weights: dict[str, Tensor]) -> str | None:
    for key, value in own.items():
        if key not in weights:
            return f"it has no tensor '{key}'"
        if weights[key].shape != value.shape:
            return f"tensor '{key}' has shape {tuple(weights[key].shape)}, must be {tuple(value.shape)}"
    left = next((key for key in weights if key not in own), None)
    return left and f"nothing there takes its tensor '{left}'"
