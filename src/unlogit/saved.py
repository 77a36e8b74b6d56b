"""What saved folders hold, read with distrust: JSON of known keys and kinds, tensors of known names, kinds and shapes.

A stranger's folder may be anything. Sizes are compared with what lies in the file before anything is allocated, and
whatever is wrong is an `UnlogitError` of one line.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict, TypeVar, cast, get_args, get_origin, get_type_hints

import torch
from huggingface_hub.dataclasses import validate_typed_dict
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unlogit.checksums import checksum
from unlogit.errors import UnlogitError, one_line, unknown

T = TypeVar("T")
Network = TypeVar("Network", bound=nn.Module)

CONFIG, WEIGHTS = "config.json", "model.safetensors"
LARGEST_JSON = 16_000_000
"""Bytes. Ours take a few thousand, and the names of 21,000 classes 400,000."""
CHECKSUM = "crc32"
"""Key of the weights' checksum in the metadata of their file; files of other programs lack it."""
FLOATS, INTEGERS = {"F16", "BF16", "F32", "F64"}, {"I64"}

Header = dict[str, tuple[str, tuple[int, ...]]]
"""By a tensor's name, its kind as safetensors writes it and its shape."""


def read_json(path: Path, what: str, advice: str) -> dict[str, Any]:
    """Return the object that a JSON file holds; raise `UnlogitError` for anything else.

    Args:
        path: the file.
        what: whose it is, for errors, such as "inverter 'runs/a'".
        advice: the likely fix.
    """
    _check_file(path, what, advice)
    if (size := path.stat().st_size) > LARGEST_JSON:
        raise UnlogitError(f"{what}: {path.name} takes {size:,} bytes, must be at most {LARGEST_JSON:,}: {advice}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnlogitError(f"{what} is damaged: {path.name} cannot be read ({one_line(error)}): {advice}") from error
    if not isinstance(content, dict):
        raise UnlogitError(f"{what}: {path.name} holds a {type(content).__name__}, must be an object: {advice}")
    return content


def check_keys(values: Mapping[str, Any], required: Mapping[str, Any], optional: Mapping[str, Any], what: str) -> None:
    """Raise `UnlogitError` for the first unknown or missing key, or value of another type.

    Args:
        values: content of a file.
        required: types of the values by key.
        optional: the same, for keys that may be missing.
        what: name of the file for errors, such as "config.json of inverter 'runs/a'".
    """
    types = {**required, **optional}
    for key in values:
        if key not in types:
            raise unknown(f"key of {what}", key, types)
    for key in required:
        if key not in values:
            raise UnlogitError(f"{what}: key '{key}' is missing, must have {', '.join(required)}")
    try:
        validate_typed_dict(cast("Any", TypedDict)("Found", {key: types[key] for key in values}), dict(values))
    except StrictDataclassError as error:
        raise UnlogitError(f"{what}: {one_line(error)}") from error


def from_json(config: type[T], saved: Mapping[str, Any], what: str) -> T:
    """Return a frozen dataclass made of a JSON object, lists as tuples; raise `UnlogitError` as `check_keys` does."""
    hints = get_type_hints(config)
    fields = dataclasses.fields(config)  # type: ignore[arg-type]
    tuples = {k for k, hint in hints.items() if any(get_origin(part) is tuple for part in (hint, *get_args(hint)))}
    values = {k: tuple(v) if isinstance(v, list) and k in tuples else v for k, v in saved.items()}
    required = {f.name: hints[f.name] for f in fields if f.default is dataclasses.MISSING}
    check_keys(values, required, {f.name: hints[f.name] for f in fields if f.name not in required}, what)
    try:
        return config(**values)
    except UnlogitError as error:
        raise UnlogitError(f"{what}: {error}") from error


def on_meta(make: Callable[[], Network], what: str) -> Network:
    """Return the network that `make` makes, with shapes and without memory, in no time whatever its size.

    Raises `UnlogitError` where there is none of such a configuration.
    """
    try:
        with torch.device("meta"):
            return make()
    except UnlogitError as error:
        raise error if str(error).startswith(what) else UnlogitError(f"{what}: {error}") from error
    # Sizes that overflow, are negative or do not divide, each layer in its own way.
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UnlogitError(f"{what} does not describe a network ({one_line(error, 120)})") from error


def read_header(path: Path, what: str, advice: str) -> Header:
    """Return kinds and shapes of the tensors of a .safetensors file, without reading them."""
    _check_file(path, what, advice)
    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {name: (one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}
    except (SafetensorError, OSError) as error:
        raise _damaged(path, what, error, advice) from error


def check_tensors(expected: Mapping[str, Tensor], header: Header, what: str) -> None:
    """Raise `UnlogitError` for the first tensor that is missing, left over, or of another kind or shape.

    Args:
        expected: what is to be read, possibly on the meta device.
        header: what the file holds.
        what: for errors.
    """
    misfit = f"{what} cannot be read: its weights do not fit its {CONFIG}"
    for name, tensor in expected.items():
        if name not in header:
            raise UnlogitError(
                f"{what} cannot be read: its weights do not fit its {CONFIG}: tensor '{name}' is missing"
            )
        kind, shape = header[name]
        kinds = FLOATS if tensor.is_floating_point() else INTEGERS
        if shape != tuple(tensor.shape) or kind not in kinds:
            raise UnlogitError(
                f"{misfit}: tensor '{name}' is {kind} of shape {shape}, must be {' or '.join(sorted(kinds))} of "
                f"{tuple(tensor.shape)}"
            )
    for name in header:
        if name not in expected:
            raise UnlogitError(
                f"{what} cannot be read: its weights do not fit its {CONFIG}: no layer has a tensor '{name}'"
            )


def read_tensors(path: Path, what: str, advice: str) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file in their own precision, whose header was checked before.

    Raises `UnlogitError` where it is damaged, as the checksum shows that `write_tensors` left in it.
    """
    try:
        # Copied out of the mapped file: it may be replaced while they are used, and they do not lie aligned in it, on
        # which the last bits of a product depend.
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        with safe_open(path, "pt") as file:
            noted = (file.metadata() or {}).get(CHECKSUM)
    except (SafetensorError, OSError) as error:
        raise _damaged(path, what, error, advice) from error
    if noted is not None and noted != checksum(tensors):
        raise UnlogitError(f"{what} is damaged: the checksum of {path.name} does not match: {advice}")
    return tensors


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a .safetensors file with its checksum, readable for all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, path, {CHECKSUM: checksum(plain)})
    path.chmod(0o644)  # The library writes for the owner alone, and this is to be shared.


def _check_file(path: Path, what: str, advice: str) -> None:
    if not path.is_file():
        raise UnlogitError(
            f"{what} cannot be read: {path.name} is {'no file' if path.exists() else 'missing'}: {advice}"
        )


def _damaged(path: Path, what: str, error: Exception, advice: str) -> UnlogitError:
    return UnlogitError(f"{what} is damaged: {path.name} cannot be read ({one_line(error)}): {advice}")
