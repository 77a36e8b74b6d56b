"""What decides an output beside its input, as digests for the keys of caches: modules, libraries and our own code."""

from __future__ import annotations

import hashlib
import inspect
import linecache
import platform
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

PACKAGE = Path(__file__).parent
LIBRARIES = (
    *("torch", "torchvision", "timm", "transformers", "open_clip_torch", "numpy", "scipy", "pillow", "matplotlib"),
    *("torchmetrics", "torch-fidelity", "lpips", "DISTS-pytorch", "stlpips-pytorch"),
)

BY_VERSION = ("torch", "torchvision", "timm", "transformers", "open_clip", "unlogit", "builtins", "abc", "typing")
"""Packages whose code is identified by version (`library_versions`), not by its content."""

SETTINGS = (str, int, float, bool, type(None))


def module_identity(
    root: nn.Module, without: nn.Module | None = None, unnamed: bool = False, portable: bool = False
) -> str:
    """Return a digest of everything in a module that decides its output, by name, exact type and value.

    Parameters, buffers (non-persistent ones too) and tensors in plain attributes; settings such as strides and flags;
    the source files of classes that belong to no library. Not the version of a library.

    Args:
        root: the module.
        without: a submodule to leave out, with all that is in it.
        unnamed: leave out the module's attribute "name".
        portable: leave out source files and the modules that classes are defined in, so that a class has the same
            identity in a script and where it is imported from that script.
    """
    qualified = _unqualified if portable else _qualified
    skipped = set() if without is None else set(without.modules())
    modules = [(name, module) for name, module in root.named_modules() if module not in skipped]
    digest = hashlib.sha256()
    for name, module in modules:
        digest.update(f"{name}\n{qualified(type(module))}\n{module.extra_repr()}\n".encode())
        for key, value in sorted(vars(module).items()):
            if not key.startswith("_") and key != "training" and not (unnamed and module is root and key == "name"):
                _update(digest, key, value, qualified)
        code = getattr(module, "code", None)  # Of TorchScript, and of a module traced by torch.fx.
        digest.update(code.encode() if isinstance(code, str) else b"")
        for key, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            _update(digest, key, tensor, qualified)
    for text in [] if portable else sorted(set(_sources([module for _, module in modules]))):
        digest.update(text.encode())
    return digest.hexdigest()


def tensor_bytes(value: Tensor) -> bytes:
    """Return the values of a tensor of any device and layout as bytes, for a digest."""
    # Flattened, since a channels-last tensor may be contiguous without a last stride of one.
    flat = value.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes() if value.ndim else str(value.item()).encode()


def _update(digest: Any, key: str, value: object, qualified: Callable[[Any], str]) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode() + tensor_bytes(value))
    elif isinstance(value, SETTINGS) or is_dataclass(value) or _is_plain(value):
        digest.update(f"{key}={value!r}\n".encode())
    elif inspect.isroutine(value) or isinstance(value, type):
        digest.update(f"{key}={qualified(value)}\n".encode())


def _is_plain(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(v, SETTINGS) or _is_plain(v) for v in value)


def _qualified(value: Any) -> str:
    return f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _unqualified(value: Any) -> str:
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _sources(modules: list[nn.Module]) -> Iterator[str]:
    """The text of each file that a class or a function in a module comes from, libraries left out."""
    classes = {base for module in modules for base in type(module).__mro__ if not _in_library(base)}
    functions = [value for one in classes for value in vars(one).values()]
    functions += [v for module in modules for k, v in vars(module).items() if not k.startswith("_")]
    files = set()
    for value in functions:
        function = inspect.unwrap(value) if callable(value) else value
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if code is not None and not _in_library(function):
            files.add(code.co_filename)
    for file in files:
        linecache.checkcache(file)
        yield "".join(linecache.getlines(file))  # Of a notebook's cell too.


def _in_library(value: Any) -> bool:
    return str(getattr(value, "__module__", None)).partition(".")[0] in BY_VERSION


@cache
def library_versions() -> str:
    """Return the version of Python and of each library, "none" where it is not installed, in one line."""
    return " ".join([f"python {platform.python_version()}", *(f"{name} {_version(name)}" for name in LIBRARIES)])


@cache
def code_digest(*parts: str) -> str:
    """Return a digest of the package's own source.

    Args:
        parts: files and folders of the package, by their paths in it; none takes all of them.
    """
    digest = hashlib.sha256()
    for path in _files(parts or ("",)):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _files(parts: tuple[str, ...]) -> Iterator[Path]:
    for part in sorted(parts):
        path = PACKAGE / part
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"
