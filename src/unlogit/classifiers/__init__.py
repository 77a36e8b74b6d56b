"""Sources of frozen classifiers, one file per source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from unlogit import specs, trust
from unlogit.classifiers._base import Classifier, Preprocessing, differ
from unlogit.classifiers._labels import read_labels
from unlogit.classifiers._listing import find
from unlogit.classifiers._module import PREFIX, binding, from_module, open_bound
from unlogit.classifiers._options import triple
from unlogit.classifiers._probe import probe
from unlogit.errors import UnlogitError
from unlogit.specs import Spec

__all__ = [
    "Classifier",
    "Preprocessing",
    "binding",
    "check_allowed",
    "differ",
    "find",
    "load_classifier",
    "open_classifier",
    "probe",
    "read_labels",
]


SAFE = frozenset(
    ("checkpoint", "fitted", "madry", "mini", "open_clip", "packaged", "small", "timm", "torchvision", "transformers")
)
"""Sources that never run code from files, and that saved files may name. A new source needs an entry here
and a test in `tests/classifiers/test_trusted_sources.py`."""
FROM_HUB = SAFE - {"open_clip"}
"""Sources that a folder from the Hugging Face Hub may name. The configuration of a CLIP can make other libraries load
further files."""


def open_classifier(
    classifier: str | nn.Module,
    trust_code: bool = False,
    *,
    size: int | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    class_names: Sequence[str] | None = None,
) -> Classifier:
    """Open a frozen classifier and probe it.

    The `spec` of a classifier opened by a string opens it again from any working directory, since it holds absolute
    paths. The `spec` of a module holds its class and a digest of its content; only the module opens it again.

    Args:
        classifier: `source:name?options`, such as timm:resnet18 or fitted:runs/c; or a torch module from normalised
            N x 3 x H x W to logits N x K, which is copied; or a `Classifier`, which is probed and returned as it is.
        trust_code: whether a file that is opened may name a classifier that runs code (`python:`). What `classifier`
            itself names is the caller's own and needs no permission.
        size: side in pixels that images are resized to; None takes the source's value, or no resizing.
        mean: normalisation per channel, for pixels in [0, 1]; None takes the source's value, or 0.
        std: the same, or 1; both may be one number for all channels. A module's attributes `input_size`,
            `mean`, `std` and `class_names` stand in for the arguments.
        class_names: class names of a module, one per logit; None numbers the classes, or takes ImageNet's names for
            1,000.

    Raises:
        UnlogitError: the source is unknown, an option is wrong, or the classifier breaks the contract (see `probe`).
    """
    overrides = {"size": size, "mean": mean, "std": std, "class_names": class_names}
    overrides = {name: value for name, value in overrides.items() if value is not None}
    with trust.trusting(trust_code), torch.random.fork_rng(devices=[]):
        if isinstance(classifier, str):
            return probe(load_classifier(_with_options(classifier, overrides)))
        if isinstance(classifier, Classifier):
            if overrides:
                raise UnlogitError(f"{', '.join(overrides)} with '{classifier.spec}', which is already open: omit them")
            return probe(classifier)
        if not isinstance(classifier, nn.Module):
            raise UnlogitError(
                f"classifier: got {classifier!r:.80} ({type(classifier).__name__}), must be a source:name string or a "
                "torch module; pass an instance, not its class or path"
            )
        return probe(from_module(classifier, size, mean, std, class_names))


def _with_options(spec: str, overrides: Mapping[str, object]) -> str:
    """Return the spec with size, mean and std among its options."""
    if "class_names" in overrides:
        raise UnlogitError(f"class_names with '{spec}': a string takes a file of names, as ?classes=names.txt")
    if not overrides:
        return spec
    parsed = Spec.parse(spec)
    texts = {
        name: str(value) if name == "size" else ",".join(map(str, triple(value, f"{name} {value!r} of '{spec}'")))
        for name, value in overrides.items()
    }
    return str(replace(parsed, options=(*parsed.options, *texts.items())))


def load_classifier(spec: str) -> Classifier:
    """Open a frozen classifier without probing it, for a source that builds on another's network."""
    if spec.startswith(PREFIX):
        return open_bound(spec)
    module, rest = specs.split(spec, "classifier", __name__)
    # Do not advance the caller's random state: networks are initialised before their weights are loaded.
    with torch.random.fork_rng(devices=[]):
        check_allowed(spec)
        # Classifiers that the source opens in turn are named by its files.
        with trust.named_by(f"classifier '{spec}'"):
            classifier = module.open_source(rest, spec)
    assert isinstance(classifier, Classifier)
    return classifier


def check_allowed(spec: str) -> None:
    """Raise `UnlogitError` where a file names a classifier that it may not name; see `unlogit.trust`."""
    if spec.startswith(PREFIX):  # Only an object that the caller passes opens it.
        return
    specs.split(spec, "classifier", __name__)  # Reports an unknown source.
    trust.check_source(Spec.parse(spec).source, spec, SAFE, FROM_HUB)
