"""A torch module as a classifier: its preprocessing, its identity, and how a saved `module:` is bound to it again."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

from unlogit.classifiers._assembling import assemble
from unlogit.classifiers._base import Classifier, Preprocessing
from unlogit.classifiers._options import SIDES, triple
from unlogit.errors import UnlogitError, first_line
from unlogit.identity import module_identity

PREFIX = "module:"
"""Begins the spec of a classifier that was passed as an object: module:CLASS@IDENTITY."""
ONLY_PYTHON = (
    "write a function that returns the module and give python:FILE.py:FUNCTION, which the command line and several "
    "processes open too"
)

_bound: ContextVar[tuple[Classifier, ...]] = ContextVar("bound", default=())


def from_module(
    network: nn.Module,
    size: int | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    class_names: Sequence[str] | None = None,
) -> Classifier:
    """Return a classifier over a copy of a module, which itself stays as it is.

    Its spec names the class and a digest of weights, settings and preprocessing. See `open_classifier` for the
    arguments and errors.
    """
    name = type(network).__qualname__
    spec = f"{PREFIX}{name}"
    if size is not None and (wrong := SIDES.problem(size, whole=True)):
        raise UnlogitError(f"size {size!r} of '{spec}': {wrong}")
    preprocessing, names = own_preprocessing(network, spec)
    preprocessing = Preprocessing(
        preprocessing.size if size is None else size,
        preprocessing.mean if mean is None else triple(mean, f"mean {mean!r} of '{spec}'"),
        preprocessing.std if std is None else triple(std, f"std {std!r} of '{spec}'"),
    )
    if isinstance(class_names, str):
        raise UnlogitError(f"class_names {class_names!r:.80} of '{spec}': must be a list of names, one per logit")
    if not all(value > 0 for value in preprocessing.std):
        raise UnlogitError(f"std {preprocessing.std} of '{spec}': must be positive; omit it to keep pixels as they are")
    meta = (n for n, v in itertools.chain(network.named_parameters(), network.named_buffers()) if v.is_meta)
    if (empty := next(meta, None)) is not None:
        raise UnlogitError(f"classifier '{spec}': '{empty}' is on the meta device, without values: load weights first")
    try:
        # Freezing, float32 and fusing must not change the caller's module, nor later training of it this classifier.
        network = copy.deepcopy(network)
    # A module may fail in any way of its own.
    except Exception as error:
        raise UnlogitError(
            f"classifier '{spec}' cannot be copied ({type(error).__name__}: {first_line(error)}): "
            "must work with copy.deepcopy; remove cached outputs and open files from its attributes"
        ) from error
    classifier = assemble(network, preprocessing, spec, names if class_names is None else class_names)
    content = f"{preprocessing!r} {classifier.class_names!r} {module_identity(network, portable=True)}"
    classifier.spec = f"{spec}@{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    return classifier


def own_preprocessing(network: nn.Module, spec: str) -> tuple[Preprocessing, Sequence[str] | None]:
    """Return what a module's attributes `input_size`, `mean`, `std` and `class_names` say; neutral where they are
    missing.
    """
    size = getattr(network, "input_size", None)
    if not (size is None or isinstance(size, int)):
        raise UnlogitError(f"input_size of '{spec}' is {size!r}: must be the side of its images in pixels")
    mean, std = (
        triple(getattr(network, key, neutral), f"{key} of '{spec}'") for key, neutral in (("mean", 0), ("std", 1))
    )
    return Preprocessing(size, mean, std), getattr(network, "class_names", None)


def check_processes(processes: int) -> None:
    """Raise `UnlogitError` where several processes would train for a module that is passed as an object."""
    if processes > 1:
        raise UnlogitError(f"processes {processes} with a classifier that is a module object: must be 1; {ONLY_PYTHON}")


@contextmanager
def binding(classifier: Classifier | None) -> Iterator[None]:
    """Let the spec of a classifier that was passed as an object open that classifier inside the block."""
    token = _bound.set(_bound.get() if classifier is None else (classifier, *_bound.get()))
    try:
        yield
    finally:
        _bound.reset(token)


def open_bound(spec: str) -> Classifier:
    """Return a copy of the bound classifier of that spec; raise `UnlogitError` where it is not bound."""
    for classifier in _bound.get():
        if classifier.spec == spec:
            return copy.deepcopy(classifier)
    name = spec.removeprefix(PREFIX).partition("@")[0]
    others = ", ".join(classifier.spec for classifier in _bound.get())
    problem = f"got {others}, whose class, weights or preprocessing differ" if others else "none was given"
    raise UnlogitError(
        f"classifier '{spec}' is a torch module that was passed as an object, and {problem}: pass the {name} with its "
        "weights, size, mean, std and class_names, as open_inverter(FOLDER, classifier=open_classifier(module, ...)); "
        "for the command line, train with python:FILE.py:FUNCTION"
    )
