"""`timm:NAME`: any classifier of timm (pytorch-image-models), with the preprocessing that belongs to its weights.

`timm:resnetv2_50` takes the weights from timm's hub; `timm:resnetv2_50?checkpoint=weights.safetensors` from a file, for
any number of classes; `timm:resnetv2_50?pretrained=false` leaves them random. `?size=128` feeds it smaller pictures
than it was trained on, which costs accuracy and saves time. Options are joined by `&`.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import huggingface_hub as hub
import timm
import torch
from timm.data import resolve_data_config
from timm.models import load_state_dict
from torch import Tensor

from unlogit.classifiers._base import Classifier, Preprocessing, parse_options
from unlogit.classifiers._imagenet import imagenet_names
from unlogit.errors import UnlogitError

FILES = ("model.safetensors", "pytorch_model.bin")
"""What weights are called on the hub."""


def open_source(rest: str, spec: str) -> Classifier:
    """Open by name; raises `UnlogitError` for an unknown name or option, or weights that cannot be had or read."""
    name, options = parse_options(rest, spec, ("checkpoint", "pretrained", "size"))
    network: Any
    base, _, tag = name.partition(".")
    if not timm.is_model(base) or (tag and name not in timm.list_models(f"{base}.*", pretrained=True)):
        raise _unknown(base, tag)
    if "checkpoint" in options:
        if "pretrained" in options:
            raise UnlogitError(f"classifier '{spec}': give checkpoint or pretrained, not both")
        network = _from_checkpoint(name, Path(options["checkpoint"]))
    elif options.get("pretrained", "true") == "false":
        torch.manual_seed(0)  # the same weights each time, since a spec names one classifier
        network = timm.create_model(name, pretrained=False)
    elif options.get("pretrained", "true") == "true":
        network = _from_hub(name)
    else:
        raise UnlogitError(f"option 'pretrained={options['pretrained']}' of '{spec}': must be true or false")
    data = resolve_data_config({}, model=network)  # type: ignore[no-untyped-call]
    channels, own_size, _ = data["input_size"]
    if channels != 3:
        raise UnlogitError(f"classifier '{spec}' takes {channels} channels: must be one for RGB pictures")
    size = int(options.get("size", own_size))
    if size != own_size and network.pretrained_cfg.get("fixed_input_size"):
        raise UnlogitError(f"classifier '{spec}' takes pictures of {own_size} only: leave out size={size}")
    classes = network.num_classes
    names = imagenet_names() if classes == 1000 else tuple(f"class {index}" for index in range(classes))
    return Classifier(network, Preprocessing(size, data["mean"], data["std"]), names, _head(network), spec)


def _head(network: Any) -> str:
    """Name of the last layer; of distilled networks, which have two, the first."""
    head: str | tuple[str, ...] = network.pretrained_cfg["classifier"]
    return head if isinstance(head, str) else head[0]


def _unknown(base: str, tag: str) -> UnlogitError:
    if timm.is_model(base):
        tags = ", ".join(timm.list_models(f"{base}.*", pretrained=True)) or "none"
        return UnlogitError(f"unknown weights '{tag}' of timm classifier '{base}': there are {tags}")
    close = difflib.get_close_matches(base, timm.list_models(), n=5)
    hint = f"did you mean {', '.join(close)}?" if close else "timm.list_models() lists all"
    return UnlogitError(f"unknown timm classifier '{base}': {hint}")


def _from_hub(name: str) -> Any:
    try:
        _reach(name)
        return timm.create_model(name, pretrained=True)
    # Whatever went wrong on the way (no network, no such weights, a full disk), the remedy is the same.
    except Exception as error:
        raise UnlogitError(
            f"weights of 'timm:{name}' could not be downloaded ({_first_line(error)}): "
            f"with a file of them, write 'timm:{name}?checkpoint=FILE'"
        ) from error


def _reach(name: str) -> None:
    """Fail at once where the hub is needed and cannot be reached; timm itself would try for most of a minute."""
    config = timm.get_pretrained_cfg(name)
    repo = config and config.hf_hub_id
    if repo and not any(isinstance(hub.try_to_load_from_cache(repo, file), str) for file in FILES):
        hub.HfApi().model_info(repo, timeout=10)


def _from_checkpoint(name: str, path: Path) -> Any:
    if not path.is_file():
        raise UnlogitError(f"checkpoint '{path}' of 'timm:{name}': no such file")
    try:
        weights: dict[str, Tensor] = load_state_dict(str(path), weights_only=True)
        head = _head(timm.create_model(name, pretrained=False, num_classes=1))
        network = timm.create_model(name, pretrained=False, num_classes=len(weights[f"{head}.weight"]))
        network.load_state_dict(weights)
    except KeyError as error:
        raise UnlogitError(f"checkpoint '{path}' is not one of timm's '{name}': it has no tensor {error}") from error
    # torch and safetensors have many errors for a file that is something else, a picture or a pickle of objects.
    except Exception as error:
        raise UnlogitError(
            f"checkpoint '{path}' is not one of timm's '{name}' ({_first_line(error)}): must be a state dict that "
            "holds tensors alone, best as .safetensors"
        ) from error
    return network


def _first_line(error: Exception) -> str:
    """What an error says, in short; torch's advice on pickles goes on after the first sentence."""
    lines = str(error).strip().splitlines()
    return lines[0].split(". ")[0] if lines else type(error).__name__
