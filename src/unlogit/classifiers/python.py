"""`python:package.module:factory`: your own network; `factory()` returns a module that takes images N x 3 x H x W.

`python:path/to/net.py:factory` takes a file that is not installed. The network's attributes `input_size` (side in
pixels), `mean`, `std` and `class_names`, where it has them, give its preprocessing and names; so do the options
`?size=64&mean=0.5,0.5,0.5&std=0.25,0.25,0.25&classes=names.txt`. Without any, images go in as they are, in [0, 1].
This runs the code that it names.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from unlogit.classifiers._assembling import adjusted, assemble
from unlogit.classifiers._base import Classifier
from unlogit.classifiers._module import own_preprocessing
from unlogit.classifiers._options import OwnOptions, canonical, existing_file, read_class_names, read_options
from unlogit.errors import UnlogitError, first_line, unknown


def open_source(rest: str, spec: str) -> Classifier:
    """Call the factory; raises `UnlogitError` where it cannot be found, fails, or makes no network."""
    name, options = read_options(OwnOptions, rest, spec)
    where, _, factory = name.rpartition(":")
    if not where or not factory:
        raise UnlogitError(f"classifier '{spec}': write python:package.module:factory or python:file.py:factory")
    file = existing_file(where, f"'{where}' of '{spec}'") if where.endswith(".py") else None
    network = _make(_module(file or where, spec), factory, spec)
    preprocessing, own_names = own_preprocessing(network, spec)
    class_names = read_class_names(options.classes) or own_names
    return assemble(
        network, adjusted(preprocessing, options), canonical(spec, f"{file or where}:{factory}", options), class_names
    )


def _module(where: str | Path, spec: str) -> ModuleType:
    try:
        if isinstance(where, str):
            return importlib.import_module(where)
        # A name of its own hides no installed module; dataclasses need it in sys.modules.
        name = f"unlogit_classifier_{where.stem}"
        module_spec = importlib.util.spec_from_file_location(name, where)
        if module_spec is None or module_spec.loader is None:
            raise UnlogitError(f"{spec}: '{where}' is not a Python file; give one whose name ends in .py")
        module = sys.modules[name] = importlib.util.module_from_spec(module_spec)
        module_spec.loader.exec_module(module)
        return module
    except ModuleNotFoundError as error:
        raise UnlogitError(
            f"classifier '{spec}': {error}: install it, or give the path of its file, python:path/to/file.py:factory"
        ) from error
    # The user's code may raise anything.
    except Exception as error:
        raise UnlogitError(
            f"classifier '{spec}': '{where}' cannot be imported ({type(error).__name__}: {first_line(error)})"
        ) from error


def _make(module: ModuleType, factory: str, spec: str) -> nn.Module:
    if not callable(getattr(module, factory, None)):
        callables = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise unknown(f"factory of '{spec}'", factory, callables)
    torch.manual_seed(0)  # Where it draws weights, the same each time, since a spec names one classifier.
    try:
        network = getattr(module, factory)()
    except Exception as error:
        raise UnlogitError(
            f"classifier '{spec}': {factory}() failed ({type(error).__name__}: {first_line(error)})"
        ) from error
    if not isinstance(network, nn.Module):
        raise UnlogitError(f"classifier '{spec}': {factory}() gives a {type(network).__name__}, not a torch module")
    return network
