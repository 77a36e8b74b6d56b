"""What a frozen image classifier still knows about an image once only its logits are left.

inverter = unlogit.open_inverter("efficientnet_lite0")
reconstructions = inverter.reconstruct(["cat.jpg", "dog.jpg"], seed=0)  # N x 3 x S x S in [0, 1]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from unlogit.lazy import exports

if TYPE_CHECKING:
    from unlogit import attacks, manipulate
    from unlogit.classifier_training import FitConfig
    from unlogit.classifier_training import fit as train_classifier
    from unlogit.classifiers import Classifier, open_classifier
    from unlogit.errors import UnlogitError
    from unlogit.images import ImageSource, Loader, View, load_images, open_images
    from unlogit.methods import GeneratorInverter, Inverter, TrainConfig, open_inverter
    from unlogit.methods.biggan import BigGANConfig, DiscriminatorConfig, GeneratorConfig
    from unlogit.methods.decoder import DecoderConfig, DosovitskiyConfig
    from unlogit.methods.flow import FlowConfig, VelocityConfig
    from unlogit.report.python import analyse
    from unlogit.representation import Representation
    from unlogit.training import train as train_inverter

__version__ = "0.1.0"

# Where each public name lives; imported at first use, so that `import unlogit` is light.
_HOMES = {
    "Classifier": "classifiers",
    "BigGANConfig": "methods.biggan",
    "DecoderConfig": "methods.decoder",
    "DiscriminatorConfig": "methods.biggan",
    "DosovitskiyConfig": "methods.decoder",
    "FitConfig": "classifier_training",
    "FlowConfig": "methods.flow",
    "GeneratorConfig": "methods.biggan",
    "GeneratorInverter": "methods",
    "ImageSource": "images",
    "Inverter": "methods",
    "Loader": "images",
    "Representation": "representation",
    "TrainConfig": "methods",
    "UnlogitError": "errors",
    "VelocityConfig": "methods.flow",
    "View": "images",
    "analyse": "report.python",
    "load_images": "images",
    "open_classifier": "classifiers",
    "open_images": "images",
    "open_inverter": "methods",
    "train_classifier": "classifier_training:fit",
    "train_inverter": "training:train",
}
_MODULES = ("attacks", "manipulate")

__all__ = [
    "BigGANConfig",
    "Classifier",
    "DecoderConfig",
    "DiscriminatorConfig",
    "DosovitskiyConfig",
    "FitConfig",
    "FlowConfig",
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


_exported = exports(__name__, _HOMES)


def __getattr__(name: str) -> object:
    return importlib.import_module(f"unlogit.{name}") if name in _MODULES else _exported(name)


def __dir__() -> list[str]:
    return sorted(__all__)
