"""Training a classifier to invert: standard or adversarial objectives, the loop, its configuration."""

from typing import TYPE_CHECKING

from unlogit.classifier_training.config import FitConfig, FitLaunch
from unlogit.lazy import exports

if TYPE_CHECKING:
    from unlogit.classifier_training.loop import fit

__all__ = ["FitConfig", "FitLaunch", "fit"]

__getattr__ = exports(__name__, {"fit": "loop"})
