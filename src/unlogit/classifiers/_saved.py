"""What the folders of `small:` and `fitted:` have in common: config.json and weights, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unlogit.errors import UnlogitError
from unlogit.saved import CONFIG, WEIGHTS, check_keys, check_tensors, read_header, read_json, read_tensors

ADVICE = "copy it again, or fit it again with `unlogit classify`"


def read_classifier(folder: Path, what: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.json; raise `UnlogitError` for the first key that is missing, unknown or wrong.

    Args:
        folder: of the classifier.
        what: for errors, such as "classifier 'small:runs/c'".
        own: types of the keys that belong to its source alone.
    """
    config = read_json(folder / CONFIG, what, ADVICE)
    number = int | float
    shared = {"mean": list[number], "std": list[number], "class_names": list[str]}
    check_keys(config, {**own, **shared}, {"fit": dict[str, Any], "reached": dict[str, Any]}, f"{CONFIG} of {what}")
    for key, low in (("mean", -math.inf), ("std", 0.0)):
        values = config[key]
        if len(values) != 3 or not all(math.isfinite(value) and value > low for value in values):
            raise UnlogitError(f"{CONFIG} of {what}: {key} {values!r:.80}: must be three finite numbers above {low:g}")
    if not config["class_names"]:
        raise UnlogitError(f"{CONFIG} of {what}: class_names is empty, must hold a name per logit")
    return config


def check_names(config: Mapping[str, Any], logits: int, what: str) -> None:
    """Raise `UnlogitError` unless there is a class name for every logit."""
    if (names := len(config["class_names"])) != logits:
        raise UnlogitError(f"{CONFIG} of {what}: {names} class_names, must be {logits}, one per logit")


def read_weights_of(network: nn.Module, folder: Path, what: str) -> dict[str, Tensor]:
    """Return the weights of a network, possibly on the meta device, floats in its own precision.

    Raises `UnlogitError` where the file is damaged or another network's, before it is read.
    """
    own = network.state_dict()
    check_tensors(own, read_header(folder / WEIGHTS, what, ADVICE), what)
    return {name: value.to(own[name].dtype) for name, value in read_tensors(folder / WEIGHTS, what, ADVICE).items()}
