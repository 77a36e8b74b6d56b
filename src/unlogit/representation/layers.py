"""Layers: where in a classifier a representation is read, and how a feature map or tokens become a vector."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit import specs
from unlogit.classifiers import Classifier
from unlogit.errors import UnlogitError
from unlogit.settings import Checked

LIMIT = 65_536
"""Maximum length of a representation, which decides the sizes of a generator's first layer and of a cache."""

OF_LOGITS = ("logits", "label", "softmax", "log-softmax", "softmax-top5")
TOP = 5
"""Number of probabilities that "softmax-top5" keeps, as many prediction APIs return."""

Reduction = Literal["mean", "max", "first", "flatten"]


@dataclass(frozen=True)
class Options(Checked):
    """Options of a layer."""

    reduce: Reduction | None = None
    """Reduction over the positions of a map or over tokens; None is the mean."""


@dataclass(frozen=True)
class Layer:
    """A module of a classifier, and the reduction of its output to a vector per image.

    Attributes:
        text: name in configurations, such as "logits" or "layer3?reduce=flatten".
        module: name of the classifier's output that it is computed from.
        reduction: reduction over positions: their "mean", the "max" of each channel, the "first" token (the one for
            the class in Vision Transformers), or "flatten", which keeps every value.
    """

    text: str
    module: str
    reduction: Reduction

    @classmethod
    def parse(cls, text: str) -> Layer:
        """Parse "NAME" or "NAME?reduce=WAY"; raise `UnlogitError` for another option or way."""
        name, options = specs.read(Options, text, text)
        if options.reduce is None:
            return cls(name, "logits" if name in OF_LOGITS else name, "mean")
        if name in OF_LOGITS:
            raise UnlogitError(f"layer '{text}' is a vector already: leave out '?reduce={options.reduce}'")
        return cls(text, name, options.reduce)

    def __call__(self, output: Tensor) -> Tensor:
        """Return N x K, float32, from an output: N x K, tokens N x T x C, or a map N x C x H x W or N x H x W x C."""
        value = output.float()
        if self.text == "label":
            return F.one_hot(value.argmax(1), value.shape[1]).float()
        if self.text == "softmax":
            return value.softmax(1)
        if self.text == "log-softmax":
            return value.log_softmax(1)
        if self.text == "softmax-top5":
            probabilities, classes = value.softmax(1).topk(min(TOP, value.shape[1]), 1)
            return torch.zeros_like(value).scatter_(1, classes, probabilities)
        if value.ndim == 2 or self.reduction == "flatten":
            return value.flatten(1)
        if self.reduction == "first":
            return value[:, 0]
        positions = (1,) if value.ndim == 3 else (1, 2) if _channels_last(value) else (2, 3)
        return value.amax(positions) if self.reduction == "max" else value.mean(positions)

    @torch.no_grad()
    def length(self, classifier: Classifier) -> int:
        """Return K, by running the classifier; raise `UnlogitError` if the output cannot become a vector."""
        output = classifier.features(classifier.grey(2), [self.module])[self.module]
        shape = tuple(output.shape)
        where = f"layer '{self.text}' of {classifier.spec}"
        if len(shape) < 2 or shape[0] != 2:
            raise UnlogitError(f"{where} gives {shape} for 2 images, must have a row per image: choose another module")
        if len(shape) > 4 and self.reduction != "flatten":
            raise UnlogitError(f"{where} has shape N x {_by(shape)}: write '{self.module}?reduce=flatten'")
        if self.reduction == "first" and len(shape) != 3:
            raise UnlogitError(f"{where} has shape N x {_by(shape)}: the first token is only one of N x T x C")
        length = self(output).shape[1]
        if length > LIMIT:
            raise UnlogitError(
                f"{where} has {length:,} values per image (N x {_by(shape)}), must be at most {LIMIT:,}: choose a "
                f"later module, or average over positions with '{self.module}'"
            )
        return length


def _channels_last(value: Tensor) -> bool:
    """Return whether a map is N x H x W x C, as in Swin: images are square, so the equal sides are the positions."""
    _, a, b, c = value.shape
    return a == b != c


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape[1:]))


@dataclass(frozen=True)
class LayerInfo:
    """A module whose output can be inverted.

    Attributes:
        name: name of the layer.
        shape: shape of the output for one image of the classifier's own size.
        kind: class of the module.
        pooled, flat: length of the representation by default and with "?reduce=flatten".
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    pooled: int
    flat: int


@torch.no_grad()
def list_layers(classifier: Classifier) -> list[LayerInfo]:
    """Return every layer of a classifier, the named ones first, then modules in order of definition."""
    outputs = classifier.features(classifier.grey(2), ["penultimate"])
    named = [
        _layer_info("logits", "logits", outputs["logits"]),
        _layer_info("softmax", "their softmax", outputs["logits"]),
    ]
    named += [_layer_info("log-softmax", "its logarithm", outputs["logits"])]
    named += [_layer_info("softmax-top5", f"its {TOP} largest values, the others 0", outputs["logits"])]
    named += [_layer_info("label", "one-hot of the predicted class", outputs["logits"])]
    named += [_layer_info("penultimate", f"input of {classifier.penultimate}", outputs["penultimate"])]
    infos: dict[str, LayerInfo] = {}

    def note(name: str, module: nn.Module, _args: object, output: object) -> None:
        # Modules that return one row per window instead of per image, or several tensors, are left out.
        if isinstance(output, Tensor) and output.is_floating_point() and 2 <= output.ndim <= 4 and len(output) == 2:
            infos[name] = _layer_info(name, type(module).__name__, output)

    modules = [(name, module) for name, module in classifier.network.named_modules() if name]
    with ExitStack() as hooks:
        for name, module in modules:
            hooks.enter_context(module.register_forward_hook(partial(note, name)))
        classifier(classifier.grey(2))
    return named + [infos[name] for name, _ in modules if name in infos]


def _layer_info(name: str, kind: str, output: Tensor) -> LayerInfo:
    shape = tuple(output.shape[1:])
    return LayerInfo(name, kind, shape, Layer.parse(name)(output).shape[1], prod(shape))


def table(classifier: Classifier) -> str:
    """Return the layers of a classifier as lines of text: name, shape, lengths."""
    rows = [("layer", "module", "shape", "pooled", "flat")]
    for layer in list_layers(classifier):
        flat = "" if len(layer.shape) == 1 else f"{layer.flat:,}" if layer.flat <= LIMIT else f"over {LIMIT:,}"
        rows.append((layer.name, layer.kind, " x ".join(map(str, layer.shape)), f"{layer.pooled:,}", flat))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = ("<", "<", "<", ">", ">")
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, aligned, widths, strict=True)).rstrip()
        for row in rows
    )
