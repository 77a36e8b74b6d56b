"""Options of inverters without weights, written into their name: `engstrom:?classifier=small:runs/c&steps=200`."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, get_type_hints
from urllib.parse import unquote

from unlogit.errors import UnlogitError, unknown
from unlogit.files import expand_user

T = TypeVar("T")

KINDS = {int: "a whole number", float: "a number", str: "text"}


def read_options(options: type[T], rest: str, spec: str) -> T:
    """The frozen dataclass `options` from what stands after the prefix, `?key=value&key=value`.

    Values that hold & or % themselves are percent-encoded. Fields are of type str, int or float, or one of them
    or None, which only a default can be.

    Raises:
        UnlogitError: something before the ?, an unknown or missing option, or a value of another type.
    """
    before, _, query = rest.partition("?")
    fields = {f.name: f for f in dataclasses.fields(options)}  # type: ignore[arg-type]
    needed = [n for n, f in fields.items() if f.default is dataclasses.MISSING]
    if before:
        method, example = spec.partition(":")[0], "&".join(f"{n}=..." for n in needed)
        raise UnlogitError(f"inverter '{spec}': '{before}' is not understood; write {method}:?{example}")
    hints = get_type_hints(options)  # Without the bounds.
    given: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        key, _, text = part.partition("=")
        if key not in fields:
            raise unknown(f"option of '{spec}'", key, fields)
        if key in given or not text:
            raise UnlogitError(f"option '{part}' of '{spec}': give each option once, as {key}=VALUE")
        (kind,) = [k for k in KINDS if k is hints[key] or k in getattr(hints[key], "__args__", ())]
        try:
            given[key] = expand_user(unquote(text)) if kind is str else kind(text)
        except ValueError:
            raise UnlogitError(f"option '{key}={text}' of '{spec}': must be {KINDS[kind]}") from None
    for name in needed:
        if name not in given:
            raise UnlogitError(f"inverter '{spec}': option '{name}' is missing; it has {', '.join(fields)}")
    return options(**given)
