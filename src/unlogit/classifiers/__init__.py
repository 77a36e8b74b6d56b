"""Where frozen classifiers come from, one file a source."""

from __future__ import annotations

import torch

from unlogit import specs, trust
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
    "check_allowed",
    "differ",
    "find",
    "fit",
    "load_classifier",
    "open_classifier",
    "probe",
    "read_labels",
]


SAFE = frozenset(
    ("checkpoint", "fitted", "madry", "open_clip", "packaged", "small", "timm", "torchvision", "transformers")
)
"""Sources that run no code which files bring; saved files may name these. A new source is none of them until it is
listed here, and its test in `tests/classifiers/test_trusted_sources.py` shows why it may be."""
FROM_HUB = SAFE - {"open_clip"}
"""Those that a folder from the Hugging Face Hub may name. A CLIP's configuration can ask other libraries for more than
we know of."""


def open_classifier(spec: str, trust_code: bool = False) -> Classifier:
    """Open a frozen classifier by `source:name` and probe it; raises `UnlogitError` for an unknown one, or one that
    breaks the contract (see `probe`).

    Its `spec` opens it again from any working directory: files are named there by their absolute paths.

    Args:
        spec: such as timm:resnet18 or fitted:runs/c.
        trust_code: whether a file that is opened may name a classifier that runs code (`python:`). What `spec` itself
            names is the caller's own and needs no permission.
    """
    with trust.trusting(trust_code), torch.random.fork_rng(devices=[]):
        return probe(load_classifier(spec))


def load_classifier(spec: str) -> Classifier:
    """Open a frozen classifier without probing it, for a source that builds on another's network."""
    module, rest = specs.split(spec, "classifier", __name__)
    # Networks are made with random weights before they get their own: do not advance the caller's random state.
    with torch.random.fork_rng(devices=[]):
        check_allowed(spec)
        # What a source opens in turn is named by its files.
        with trust.named_by(f"classifier '{spec}'"):
            classifier = module.open_source(rest, spec)
    assert isinstance(classifier, Classifier)
    return classifier


def check_allowed(spec: str) -> None:
    """Raise `UnlogitError` where a file names a classifier that it may not name; see `unlogit.trust`."""
    specs.split(spec, "classifier", __name__)  # An unknown source is said to be one.
    trust.check_source(spec.partition(":")[0], spec, SAFE, FROM_HUB)
