"""What a frozen image classifier still knows about an image once only its logits are left.

inverter = unlogit.open_inverter("efficientnet_lite0")
reconstructions = inverter.reconstruct(["cat.jpg", "dog.jpg"], seed=0)  # N x 3 x S x S in [0, 1]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unlogit import attacks, manipulate
    from unlogit.classifiers import Classifier, FitConfig, open_classifier
    from unlogit.classifiers import fit as train_classifier
    from unlogit.errors import UnlogitError
    from unlogit.images import ImageSource, Loader, View, load_images, open_images
    from unlogit.inverters import GeneratorInverter, Inverter, open_inverter
    from unlogit.networks import DecoderConfig, DiscriminatorConfig, GeneratorConfig, VelocityConfig
    from unlogit.report.python import analyse
    from unlogit.representation import Representation
    from unlogit.training import TrainConfig
    from unlogit.training import train as train_inverter

__version__ = "0.1.0"

# Where each public name lives; imported at first use, so that `import unlogit` is light.
_HOMES = {
    "Classifier": "classifiers",
    "DecoderConfig": "networks",
    "DiscriminatorConfig": "networks",
    "FitConfig": "classifiers",
    "GeneratorConfig": "networks",
    "GeneratorInverter": "inverters",
    "ImageSource": "images",
    "Inverter": "inverters",
    "Loader": "images",
    "Representation": "representation",
    "TrainConfig": "training",
    "UnlogitError": "errors",
    "VelocityConfig": "networks",
    "View": "images",
    "analyse": "report.python",
    "load_images": "images",
    "open_classifier": "classifiers",
    "open_images": "images",
    "open_inverter": "inverters",
    "train_classifier": "classifiers:fit",
    "train_inverter": "training:train",
}
_MODULES = ("attacks", "manipulate")

__all__ = [
    "Classifier",
    "DecoderConfig",
    "DiscriminatorConfig",
    "FitConfig",
    "GeneratorConfig",
    "GeneratorInverter",
    "ImageSource",
    "Inverter",
    "Loader",
    "Representation",
    "TrainConfig",
    "UnlogitError",
    "VelocityConfig",
    "View",
    "__version__",
    "analyse",
    "attacks",
    "load_images",
    "manipulate",
    "open_classifier",
    "open_images",
    "open_inverter",
    "train_classifier",
    "train_inverter",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"unlogit.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'unlogit' has no attribute '{name}'")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(f"unlogit.{module}"), attribute or name)


def __dir__() -> list[str]:
    return sorted(__all__)
