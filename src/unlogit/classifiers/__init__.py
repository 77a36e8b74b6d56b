"""Where frozen classifiers come from, one file a source."""

from __future__ import annotations

import torch

from unlogit import registry
from unlogit.classifiers._base import Classifier, Preprocessing, differ
from unlogit.classifiers._fit import fit
from unlogit.classifiers._fit_config import FitConfig, FitLaunch
from unlogit.classifiers._labels import read_labels
from unlogit.classifiers._listing import find
from unlogit.classifiers._probe import probe

__all__ = [
    "Classifier",
    "FitConfig",
    "FitLaunch",
    "Preprocessing",
    "differ",
    "find",
    "fit",
    "load_classifier",
    "open_classifier",
    "probe",
    "read_labels",
]


def open_classifier(spec: str) -> Classifier:
    """Open a frozen classifier by `source:name` and probe it; raises `UnlogitError` for an unknown one, or one that
    breaks the contract (see `probe`).

    Its `spec` opens it again from any working directory: files are named there by their absolute paths.
    """
    with torch.random.fork_rng(devices=[]):
        return probe(load_classifier(spec))


def load_classifier(spec: str) -> Classifier:
    """Open a frozen classifier without probing it, for a source that builds on another's network."""
    module, rest = registry.split(spec, "classifier", __name__)
    # Networks are made with random weights before they get their own: do not advance the caller's random state.
    with torch.random.fork_rng(devices=[]):
        classifier = module.open_source(rest, spec)
    assert isinstance(classifier, Classifier)
    return classifier
