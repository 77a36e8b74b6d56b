"""What a fitting begins with, and how what came of it is written: a network and its head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unlogit import classifiers
from unlogit.classifiers import fitted, timm
from unlogit.classifiers._base import Classifier
from unlogit.classifiers.small import SmallConfig, SmallResNet, as_classifier
from unlogit.errors import UnlogitError
from unlogit.files import replacing, to_json, written_here
from unlogit.saved import CONFIG, WEIGHTS, write_tensors
from unlogit.specs import Spec


def new_small(shape: SmallConfig, class_names: Sequence[str], spec: str, seed: int) -> Classifier:
    """The built-in network with random weights, to be trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SmallResNet(shape)
    return _trainable(as_classifier(network, class_names, spec))


def opened(start: str, class_names: Sequence[str], labels: Tensor | None, seed: int) -> Classifier:
    """Another classifier, to be trained on; with a new head where the logits are to be those of other classes.

    Args:
        start: its spec.
        class_names: of the images.
        labels: which of the start's own logits each class is, whose head then stays.
        seed: of a new head.
    """
    classifier = classifiers.open_classifier(start)
    if labels is None and classifier.class_names != tuple(class_names):
        classifier = _with_classes(classifier, class_names, seed)
    elif labels is not None and int(labels.max()) > (most := len(classifier.class_names) - 1):
        raise UnlogitError(f"labels: logit index {int(labels.max())} must be 0 to {most}, the logits of {start}")
    classifier.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _trainable(classifier)


def save(folder: Path, classifier: Classifier, start: str, record: dict[str, Any]) -> None:
    """Write what `fitted:FOLDER` opens, or `small:FOLDER` for the built-in network; `config.json` comes last.

    Args:
        folder: where; it is a fitting's own, and other files in it stay.
        classifier: what was fitted.
        start: the spec that it began as.
        record: what else `config.json` shall hold; JSON values only.
    """
    network, preprocessing = classifier.network, classifier.preprocessing
    # Not a subclass, whose forward may be another.
    if type(network) is SmallResNet:
        what: dict[str, Any] = {"network": asdict(network.config)}
    else:
        what = {"architecture": architecture(start, network), "size": preprocessing.size}
        what |= {"interpolation": preprocessing.interpolation, "penultimate": classifier.penultimate}
    what |= {"mean": preprocessing.mean, "std": preprocessing.std, "class_names": classifier.class_names}
    with replacing(folder / WEIGHTS, written_here) as fresh:
        write_tensors(network.state_dict(), fresh)
    with replacing(folder / CONFIG, written_here) as fresh:
        fresh.write_text(to_json(what | record, indent=2) + "\n")


def architecture(start: str, network: nn.Module) -> str:
    """Return a spec of a network of the same shape, where possible without weights that would be overwritten."""
    parsed = Spec.parse(start)
    if parsed.source == "fitted":
        return fitted.architecture(start.partition(":")[2], start)
    if parsed.source == "python":  # Its network may be timm's with another forward.
        return start
    random = replace(parsed, options=(("pretrained", "false"),))
    if parsed.source == "timm" and parsed.name.startswith(timm.HUB):  # It may differ from the architecture's own.
        return str(random)
    config = getattr(network, "pretrained_cfg", None)
    if config and config.get("architecture"):
        return f"timm:{config['architecture']}?pretrained=false"
    return str(random) if parsed.source in ("packaged", "torchvision") else start


def _with_classes(classifier: Classifier, class_names: Sequence[str], seed: int) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fitted.with_head(classifier.network, classifier.penultimate, len(class_names), classifier.spec)
    return Classifier(
        classifier.network, classifier.preprocessing, class_names, classifier.penultimate, classifier.spec
    )


def _trainable(classifier: Classifier) -> Classifier:
    classifier.network.requires_grad_(True).train()
    return classifier
