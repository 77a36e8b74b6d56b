"""What stands after a classifier's prefix: a name and options, `name?key=value&key=value`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from torch import Tensor

from unlogit.errors import UnlogitError, unknown
from unlogit.files import expand_user
from unlogit.trust import check_path

FILES = ("checkpoint", "classes")
"""Options that name files."""

SIZES = (32, 1024)


def parse_options(rest: str, spec: str, allowed: Sequence[str]) -> tuple[str, dict[str, str]]:
    """(name, options), files as absolute paths; raises `UnlogitError` for a key or value that is not allowed.

    "size" must be a side in pixels from 32 to 1024, "pretrained" true or false, "checkpoint" and "classes" files,
    "mean" and "std" three numbers, wherever they are allowed.
    """
    name, _, query = rest.partition("?")
    options = {key: value for key, _, value in (part.partition("=") for part in query.split("&") if part)}
    for key, value in options.items():
        given = f"option '{key}={value}' of '{spec}'"
        if key not in allowed:
            raise unknown(f"option of '{spec}'", key, allowed)
        if key == "size" and not (value.isdecimal() and SIZES[0] <= int(value) <= SIZES[1]):
            raise UnlogitError(f"{given}: must be from size={SIZES[0]} to size={SIZES[1]}")
        if key == "pretrained" and value not in ("true", "false"):
            raise UnlogitError(f"{given}: must be true or false")
        if key in ("mean", "std"):
            triple(value, given)
        if key in FILES:
            options[key] = str(existing_file(value, f"{key} '{value}' of '{spec}'"))
    return name, options


def canonical(spec: str, name: str | Path, options: Mapping[str, str]) -> str:
    """The spec that opens the same classifier from any working directory: with the absolute paths of name and options.

    Args:
        spec: as it was given, of which the prefix is kept.
        name: as `parse_options` gives it, or an absolute path.
        options: as `parse_options` gives them.
    """
    query = "&".join(f"{key}={value}" for key, value in options.items())
    return f"{spec.partition(':')[0]}:{name}{'?' if query else ''}{query}"


def existing_file(given: str, what: str) -> Path:
    """The absolute path of a file; raises `UnlogitError` where there is none, or it may not be read."""
    # Links stay: the Hub's cache keeps what a folder names under a digest, which does not tell the kind of a file.
    path = check_path(Path(os.path.abspath(expand_user(given))))  # noqa: PTH100
    if not path.is_file():
        raise UnlogitError(f"{what}: {'a folder, give a file' if path.is_dir() else 'no such file'}")
    return path


def triple(given: object, what: str) -> tuple[float, float, float]:
    """Three numbers, one a channel, from text with commas, a sequence or a tensor; one number stands for all three."""
    try:
        parts = given.split(",") if isinstance(given, str) else given.flatten() if isinstance(given, Tensor) else given
        parts = [parts] if isinstance(parts, int | float) else parts
        values = tuple(float(v) for v in cast("Sequence[float]", parts))
    except (TypeError, ValueError):
        values = ()
    if len(values) == 1:
        values *= 3
    if len(values) != 3:
        raise UnlogitError(f"{what}: must be three numbers, one a channel, such as 0.485,0.456,0.406")
    return values[0], values[1], values[2]


def read_class_names(options: Mapping[str, str]) -> tuple[str, ...] | None:
    """The lines of the file that the option "classes" names; None without it."""
    if "classes" not in options:
        return None
    try:
        lines = Path(options["classes"]).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UnlogitError(f"class names '{options['classes']}': must be a text file, a name a line") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise UnlogitError(f"class names '{options['classes']}': the file is empty, must hold a name a line")
    return names
