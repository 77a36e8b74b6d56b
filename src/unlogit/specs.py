"""One grammar for the strings that open things: `source:name?option=value&option=value`.

A spec inside another one stands in brackets, which must match:

    nearest:[packaged:efficientnet_lite0?size=128]?images=[parquet:train-*.parquet]&limit=1000

Options begin at the first question mark that `option=` follows, so that any other question mark is a wildcard. Brackets
around a name count only where they hold options or a `source:`, so that a glob keeps its own; `&` may stand for the
question mark after them. Files of earlier versions hold values that are percent-encoded instead, which are read too.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import unquote

from unlogit import registry
from unlogit.errors import UnlogitError, one_of, unknown
from unlogit.files import expand_user
from unlogit.outside import plain
from unlogit.settings import Checked

Options = TypeVar("Options", bound=Checked)

KEY = r"[A-Za-z_][\w-]*"
OPTIONS = re.compile(rf"\?(?={KEY}=)")
AFTER_BRACKETS = re.compile(rf"(?:[?&](?:{KEY}=.*)?)?", re.DOTALL)
SOURCE = re.compile(r"\[*\w+:")
TO_QUOTE = re.compile(r"[?&]|%[0-9A-Fa-f]{2}|^\[|^$")
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}

FORMER = {"tap": "layer"}
"""What options were called up to version 0.2, and what they are called now."""


@dataclass(frozen=True)
class Spec:
    """A parsed spec; `str` writes it so that `parse` returns an equal one.

    Attributes:
        source: what stands before the first colon.
        name: without brackets.
        options: keys and values as text, in order, without brackets and percent-encoding.

    Raises:
        UnlogitError: the grammar cannot write it, such as a key with a space, or options after half a bracket.
    """

    source: str
    name: str = ""
    options: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        str(self)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a spec; raise `UnlogitError` where it has no source."""
        source, colon, rest = text.partition(":")
        if not colon or not source:
            raise UnlogitError(f"'{plain(text)}' has no source: write it as source:name")
        name, pairs = _split(rest)
        return cls(source, name, tuple((key, _decoded(raw)) for key, raw in pairs))

    def __str__(self) -> str:
        pairs = [(key, _encoded(value)) for key, value in self.options]
        query = "&".join(f"{key}={raw}" for key, raw in pairs)
        tail = f"?{query}" if query else ""
        for rest in (f"{self.name}{tail}", f"{self.name}?", f"[{self.name}]{tail}"):
            if _split(rest) == (self.name, pairs):
                return f"{self.source}:{rest}"
        raise UnlogitError(
            f"'{plain(self.source)}:{plain(self.name)}{plain(tail)}' cannot be written as source:name?option=value: "
            "brackets must match, and each option must be a word with a value"
        )


def split(spec: str, kind: str, package: str) -> tuple[ModuleType, str]:
    """Return the module of a spec's source and the rest of the spec, a leading ~ replaced by the home folder.

    Args:
        spec: as the user typed it.
        kind: what it opens, for errors, such as "classifier".
        package: the package whose modules are the sources.

    Raises:
        UnlogitError: the source is missing or unknown; the error lists the known ones.
    """
    source, colon, rest = spec.partition(":")
    if not colon:
        examples = ", ".join(f"{name}:" for name in registry.names(package))
        raise UnlogitError(
            f"{kind} '{plain(spec)}' has no source prefix: write it as source:name, with one of {examples}"
        )
    return registry.module(package, plain(source), f"{kind} prefix"), expand_user(rest)


def read(options: type[Options], rest: str, spec: str, name_is: str | None = None) -> tuple[str, Options]:
    """Return the name and the options of a spec.

    Args:
        options: the class of the options, whose fields are of type int, float, bool, str, Path, a Literal, a tuple of
            them (values with commas between; one value stands for all of a fixed number), or a union of these.
        rest: the spec without its source.
        spec: all of it, for errors.
        name_is: the field that the name is the value of, if any.

    Raises:
        UnlogitError: an option is unknown, missing, given twice, of another type, or out of the bounds of its field.
    """
    name, pairs = _split(rest)
    what = f"'{plain(spec)}'"
    hints = get_type_hints(options)
    hints = {field.name: hints[field.name] for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    values: dict[str, Any] = {name_is: name} if name_is and name else {}
    for written, raw in pairs:
        key = written if written in hints else FORMER.get(written, written)
        if key not in hints:
            raise unknown(f"option of {what}", plain(key), hints)
        if key in values or not raw:
            raise UnlogitError(f"option '{key}={plain(raw)}' of {what}: give each option once, as {key}=VALUE")
        # Earlier versions wrote the paths of classifiers' files without percent-encoding.
        text = raw if hints[key] in (Path, Path | None) and os.path.exists(raw) else _decoded(raw)  # noqa: PTH110
        try:
            values[key] = _typed(text, hints[key])
        except ValueError:
            raise UnlogitError(f"option '{key}={plain(text)}' of {what}: {_allowed(hints[key], text)}") from None
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        if field.name not in values and field.default is dataclasses.MISSING:
            raise UnlogitError(f"option '{field.name}' of {what} is missing: add {field.name}=VALUE")
    try:
        return name, options(**values)
    except UnlogitError as error:
        raise UnlogitError(f"{what}: {error}") from None


def _split(rest: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the name, and the options with their values as they are written."""
    end = _closing(rest)
    inner, after = rest[1:end], rest[end + 1 :]
    if end > 0 and AFTER_BRACKETS.fullmatch(after) and (SOURCE.match(inner) or OPTIONS.search(inner)):
        return inner, _pairs(after[1:])
    if found := OPTIONS.search(rest):
        return rest[: found.start()], _pairs(rest[found.end() :])
    return rest.removesuffix("?"), []


def _pairs(query: str) -> list[tuple[str, str]]:
    """Return the keys and raw values of `key=value&key=value`, where brackets may hold `&`."""
    pairs = []
    while query:
        key, equals, _ = query.partition("&")[0].partition("=")
        start = len(key) + len(equals)
        end = start + _closing(query[start:]) + 1
        if end == start or query[end : end + 1] not in ("", "&"):
            end = query.find("&", start)
            end = len(query) if end < 0 else end
        if key or equals:
            pairs.append((key, query[start:end]))
        query = query[end + 1 :]
    return pairs


def _closing(text: str) -> int:
    """Return the index of the bracket that closes the one at the beginning; -1 where there is none."""
    depth = 0
    for index, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if depth < 1:
            return index or -1
    return -1


def _decoded(raw: str) -> str:
    quoted = raw and _closing(raw) == len(raw) - 1
    return raw[1:-1] if quoted else unquote(raw, errors="surrogateescape")


def _encoded(value: str) -> str:
    if not TO_QUOTE.search(value):
        return value
    quoted = f"[{value}]"
    if _closing(quoted) == len(quoted) - 1:
        return quoted
    return re.sub(r"[%&\[\]]", lambda found: f"%{ord(found[0]):02X}", value)  # Its brackets do not match.


def _typed(text: str, hint: Any) -> Any:
    """Return a text as a value of a type; raise `ValueError` where it is none."""
    kind, args = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        for each in args:
            try:
                return _typed(text, each)
            except ValueError:
                pass
    elif kind is Literal and text in args:
        return text
    elif kind is tuple:
        parts = text.split(",")
        repeated = args[:1] * len(parts) if args[-1] is ... else args
        parts *= len(repeated) if len(parts) == 1 else 1
        return tuple(_typed(part, each) for part, each in zip(parts, repeated, strict=True))
    elif kind is bool and text in ("true", "false"):
        return text == "true"
    elif kind is Path:
        # pathlib drops the leading ./, without which the path would be in a home folder.
        return Path(text).absolute() if text.startswith("./~") else Path(text)
    elif kind in (int, float, str):
        return kind(text)
    raise ValueError(text)


def _allowed(hint: Any, text: str) -> str:
    """Return what a type allows, in words, and the likely value."""
    if get_origin(hint) in (Union, UnionType):
        hint = get_args(hint)[0]
    kind, args = get_origin(hint) or hint, get_args(hint)
    if kind is Literal:
        return one_of(text, args)
    if kind is tuple:
        count = "" if args[-1] is ... else f"{len(args)} "
        return f"must be {count}values with commas between, each {KINDS[args[0]]}"
    return f"must be {KINDS[kind]}"
