"""What a frozen image classifier still knows about a picture once only its logits are left.

inverter = unlogit.open_inverter("efficientnet_lite0")
reconstructions = inverter.reconstruct(["cat.jpg", "dog.jpg"], seed=0)  # N x 3 x S x S in [0, 1]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unlogit.classifier_training import FitConfig, fit
    from unlogit.classifiers import Classifier, open_classifier
    from unlogit.errors import UnlogitError
    from unlogit.images import Loader, View, load_images, open_images
    from unlogit.methods import GeneratorInverter, Inverter, open_inverter
    from unlogit.representation import Representation
    from unlogit.training import TrainConfig, train

__version__ = "0.1.0"

# Where each public name lives; imported when first asked for, so that `import unlogit` is light.
_HOMES = {
    "Classifier": "classifiers",
    "FitConfig": "classifier_training",
    "GeneratorInverter": "methods",
    "Inverter": "methods",
    "Loader": "images",
    "Representation": "representation",
    "TrainConfig": "methods",
    "UnlogitError": "errors",
    "View": "images",
    "fit": "classifier_training",
    "load_images": "images",
    "open_classifier": "classifiers",
    "open_images": "images",
    "open_inverter": "methods",
    "train": "training",
}

__all__ = [
    "Classifier",
    "FitConfig",
    "GeneratorInverter",
    "Inverter",
    "Loader",
    "Representation",
    "TrainConfig",
    "UnlogitError",
    "View",
    "__version__",
    "fit",
    "load_images",
    "open_classifier",
    "open_images",
    "open_inverter",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'unlogit' has no attribute '{name}'")
    return getattr(importlib.import_module(f"unlogit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
