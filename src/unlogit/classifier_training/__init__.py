"""Training a classifier to invert: standard or adversarial objectives, the loop, its configuration."""

from unlogit.classifier_training.config import FitConfig, FitLaunch
from unlogit.classifier_training.loop import fit

__all__ = ["FitConfig", "FitLaunch", "fit"]
