"""Where frozen classifiers come from, one file a source."""

from __future__ import annotations

import torch

from unlogit import registry
from unlogit.classifiers._base import Classifier, Preprocessing
from unlogit.classifiers._fit import fit
from unlogit.classifiers._fit_config import FitConfig, FitLaunch
from unlogit.classifiers._labels import read_labels
from unlogit.classifiers._listing import find

__all__ = ["Classifier", "FitConfig", "FitLaunch", "Preprocessing", "find", "fit", "open_classifier", "read_labels"]


def open_classifier(spec: str) -> Classifier:
    """Open a frozen classifier by `source:name`; raises `UnlogitError` for an unknown one.

    Its `spec` opens it again from any working directory: files are named there by their absolute paths.
    """
    module, rest = registry.split(spec, "classifier", __name__)
    # Networks are made with random weights before they get their own, which must not shift anyone's stream of chance.
    with torch.random.fork_rng(devices=[]):
        classifier = module.open_source(rest, spec)
    assert isinstance(classifier, Classifier)
    return classifier
