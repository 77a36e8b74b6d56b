"""Options of classifiers: input size, normalisation, files and class names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar, cast

from torch import Tensor

from unlogit import specs
from unlogit.errors import UnlogitError
from unlogit.files import expand_user
from unlogit.settings import Bounds, Checked
from unlogit.specs import Spec
from unlogit.trust import check_path

Options = TypeVar("Options", bound=Checked)

SIDES = Bounds(32, 1024)
Side = Annotated[int, SIDES]
"""Side in pixels that images are resized to."""


@dataclass(frozen=True)
class OwnOptions(Checked):
    """Options of a network that brings no preprocessing of its own."""

    size: Side | None = None
    """Side in pixels that images are resized to."""
    mean: Annotated[tuple[float, float, float], Bounds()] | None = None
    """Mean that is subtracted from pixels in [0, 1], per channel."""
    std: Annotated[tuple[float, float, float], Bounds(0, above=True)] | None = None
    """Standard deviation that pixels are then divided by, per channel."""
    classes: Path | None = None
    """File of class names, one per line."""


def read_options(options: type[Options], rest: str, spec: str) -> tuple[str, Options]:
    """Return the name and the options, their files as absolute paths; raise `UnlogitError` as `specs.read` does."""
    name, values = specs.read(options, rest, spec)
    files = {key: existing_file(path, f"{key} '{path}' of '{spec}'") for key, path in _files(values)}
    return name, replace(values, **files)  # type: ignore[type-var]


def canonical(spec: str, name: str | Path, options: object) -> str:
    """Return the spec that opens the same classifier from any working directory.

    Args:
        spec: as it was given.
        name: as `read_options` returns it, or an absolute path.
        options: as `read_options` returns them; their files take the place of those in `spec`.
    """
    parsed = Spec.parse(spec)
    files = {key: str(path) for key, path in _files(options)}
    return str(Spec(parsed.source, str(name), tuple((key, files.get(key, value)) for key, value in parsed.options)))


def _files(options: object) -> list[tuple[str, Path]]:
    return [(key, value) for key, value in vars(options).items() if isinstance(value, Path)]


def existing_file(given: str | Path, what: str) -> Path:
    """Return the absolute path of a file; raise `UnlogitError` where there is none, or it may not be read."""
    # Links stay: the Hub's cache keeps what a folder names under a digest, which does not show the kind of a file.
    path = check_path(Path(os.path.abspath(expand_user(str(given)))))  # noqa: PTH100
    if not path.is_file():
        raise UnlogitError(f"{what}: {'a folder, give a file' if path.is_dir() else 'no such file'}")
    return path


def triple(value: object, what: str) -> tuple[float, float, float]:
    """Return three numbers, one per channel, from a sequence or a tensor; one number stands for all three.

    Raises `UnlogitError` for anything else.
    """
    try:
        parts = value.flatten() if isinstance(value, Tensor) else value
        parts = [parts] if isinstance(parts, int | float) else parts
        values = tuple(float(v) for v in cast("Sequence[float]", parts))
    except (TypeError, ValueError):
        values = ()
    if len(values) == 1:
        values *= 3
    if len(values) != 3:
        raise UnlogitError(f"{what}: must be three numbers, one per channel, such as 0.485, 0.456, 0.406")
    return values[0], values[1], values[2]


def read_class_names(file: Path | None) -> tuple[str, ...] | None:
    """Return the class names in a file, one per line; None without a file."""
    if file is None:
        return None
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UnlogitError(f"class names '{file}': must be a text file with one name per line") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise UnlogitError(f"class names '{file}': the file is empty, must hold one name per line")
    return names
