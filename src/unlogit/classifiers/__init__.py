"""Where frozen classifiers come from, one file a source."""

from __future__ import annotations

from unlogit import registry
from unlogit.classifiers._base import Classifier, Preprocessing

__all__ = ["Classifier", "Preprocessing", "open_classifier"]


def open_classifier(spec: str) -> Classifier:
    """Open a frozen classifier by `source:name`; raises `UnlogitError` for an unknown one."""
    module, rest = registry.split(spec, "classifier", __name__)
    classifier = module.open_source(rest, spec)
    assert isinstance(classifier, Classifier)
    return classifier
