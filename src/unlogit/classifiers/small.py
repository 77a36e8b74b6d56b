"""`small:FOLDER`: the built-in classifier, a pre-activation ResNet small enough to be trained on one core.

`unlogit classify` makes such a folder: `config.json` (shape, class names, how it was fitted and the accuracies it
reached) beside `model.safetensors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.classifiers._base import Classifier, Preprocessing
from unlogit.classifiers._saved import check_names, read_classifier, read_weights_of
from unlogit.errors import UnlogitError
from unlogit.files import holding, replacing, to_json
from unlogit.saved import CONFIG, WEIGHTS, from_json, on_meta, write_tensors
from unlogit.settings import Bounds, Checked, Width
from unlogit.trust import check_path

SAVED = holding(CONFIG, ("network", "mean", "std", "class_names"), lambda _: (WEIGHTS,))
"""Recognises the folder of a saved classifier, which may be replaced."""
MOST = 64
"""Stages, and blocks of a stage."""
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@dataclass(frozen=True)
class SmallConfig(Checked):
    """The shape of a `SmallResNet`.

    Attributes:
        classes: number of logits.
        size: side in pixels of its input, a power of two from 32 on.
        widths: channels of each stage; the first works on 16 x 16 positions, each next one on half the side.
        blocks: residual blocks a stage.
    """

    classes: Annotated[int, Bounds(1, 10**6)]
    size: Width = 32
    widths: tuple[Width, ...] = (24, 48, 96)
    blocks: Annotated[int, Bounds(1, MOST)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths:
            raise UnlogitError("classifier widths: must be one or more, one per stage, such as 24 48 96")
        if self.size < 32 or self.size & (self.size - 1):
            raise UnlogitError(f"classifier size {self.size}: must be a power of two of at least 32, such as 32 or 64")
        if len(self.widths) > MOST:
            raise UnlogitError(f"classifier of {len(self.widths)} stages: must be at most {MOST}")


class Block(nn.Module):
    """Two 3x3 convolutions, each after batch-norm and ReLU, beside a shortcut (He et al. 2016b, figure 1b)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        # A shortcut that changes the shape takes the activated input, as in the paper's code.
        beside = x if isinstance(self.shortcut, nn.Identity) else self.shortcut(active)
        return beside + self.conv2(F.relu(self.norm2(self.conv1(active))))


class SmallResNet(nn.Module):
    """A pre-activation ResNet ("V2", He et al. 2016b) over normalised pixels, N x 3 x S x S, to logits, N x K.

    The stem goes to 16 x 16 positions at once, which is what keeps a step cheap: at 64 pixels it costs hardly more
    than at 32. Tensors are channels-last, the faster layout on CPUs.
    """

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.config = config
        stride = config.size // 16
        self.stem = nn.Conv2d(3, config.widths[0], 2 * stride - 1, stride, stride - 1, bias=False)
        stages = []
        before = config.widths[0]
        for index, width in enumerate(config.widths):
            first = Block(before, width, 1 if index == 0 else 2)
            stages.append(nn.Sequential(first, *(Block(width, width, 1) for _ in range(config.blocks - 1))))
            before = width
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(before)
        self.head = nn.Linear(before, config.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x.contiguous(memory_format=torch.channels_last)))
        return self.head(F.relu(self.norm(x)).mean((2, 3)))


def as_classifier(network: SmallResNet, class_names: Sequence[str], spec: str) -> Classifier:
    """The network with its preprocessing, frozen and in evaluation mode from now on."""
    return Classifier(network, Preprocessing(network.config.size, MEAN, STD), class_names, "head", spec)


def save_small(folder: Path, network: SmallResNet, class_names: Sequence[str], record: dict[str, Any]) -> None:
    """Write a folder that `small:FOLDER` opens, all of it or nothing.

    Args:
        folder: where; a classifier that was saved there is replaced, anything else is an `UnlogitError`.
        network: of a classifier.
        class_names: one a logit.
        record: what else `config.json` shall hold: "fit", how the network was trained, and "reached", its accuracies;
            JSON values only.
    """
    shape = asdict(network.config)
    config = {"network": shape, "mean": MEAN, "std": STD, "class_names": list(class_names), **record}
    with replacing(folder, SAVED, folder=True) as fresh:
        (fresh / CONFIG).write_text(to_json(config, indent=2) + "\n")
        write_tensors(network.state_dict(), fresh / WEIGHTS)


def open_source(rest: str, spec: str) -> Classifier:
    """Open a folder that `save_small` wrote; raises `UnlogitError` where it is missing, damaged or another's."""
    folder = check_path(Path(rest).expanduser().resolve())
    what = f"classifier '{spec}'"
    if not rest or not (folder / CONFIG).is_file():
        raise UnlogitError(f"{what}: no {CONFIG} in '{rest}': give a folder that `unlogit classify` wrote")
    config = read_classifier(folder, what, {"network": dict[str, Any]})
    part = f"'network' in {CONFIG} of {what}"
    shape = from_json(SmallConfig, config["network"], part)
    network = on_meta(lambda: SmallResNet(shape), part)
    check_names(config, shape.classes, what)
    network.load_state_dict(read_weights_of(network, folder, what), assign=True)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    preprocessing = Preprocessing(shape.size, tuple(config["mean"]), tuple(config["std"]))
    return Classifier(network, preprocessing, config["class_names"], "head", f"small:{folder}")
