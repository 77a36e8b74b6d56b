"""One grammar for what opens things: `source:name?option=value&option=value`.

A name or a value that is a spec with options of its own stands in brackets, which match:

    nearest:[packaged:efficientnet_lite0?size=128]?images=[parquet:train-*.parquet]&limit=1000

Options begin at the first question mark that `option=` follows, so that other question marks stay wildcards. Brackets
quote a name only where they hold such options or a `source:`, so that those of globs and files stay their own; an `&`
may follow them in place of the question mark. A value without brackets may be percent-encoded, as in older files.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import unquote

from unlogit import registry
from unlogit.errors import UnlogitError, one_of, unknown
from unlogit.files import expand_user
from unlogit.outside import plain
from unlogit.settings import problem

T = TypeVar("T")

KEY = r"[A-Za-z_][\w-]*"
OPTIONS = re.compile(rf"\?(?={KEY}=)")
AFTER_BRACKETS = re.compile(rf"(?:[?&](?:{KEY}=.*)?)?", re.DOTALL)
SOURCE = re.compile(r"\[*\w+:")
TO_QUOTE = re.compile(r"[?&]|%[0-9A-Fa-f]{2}|^\[|^$")
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}


@dataclass(frozen=True)
class Spec:
    """A source, a name and options, all as text; `str` writes them so that `parse` reads the same.

    Raises `UnlogitError` for what the grammar cannot write, such as a name with options and half a bracket.
    """

    source: str
    name: str = ""
    options: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        keys = [key for key, _ in self.options]
        if not re.fullmatch(r"[^:]+", self.source) or not all(re.fullmatch(KEY, key) for key in keys):
            raise UnlogitError(f"'{plain(self.source)}:' with options {plain(', '.join(keys))}: must be words")
        str(self)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a spec; raise `UnlogitError` where it has no source."""
        source, colon, rest = text.partition(":")
        if not colon:
            raise UnlogitError(f"'{plain(text)}' has no source: write it as source:name")
        name, options = _split(rest)
        return cls(source, name, tuple((key, _decoded(raw)) for key, raw in options))

    def __str__(self) -> str:
        query = "&".join(f"{key}={_encoded(value)}" for key, value in self.options)
        tail = f"?{query}" if query else ""
        for rest in (f"{self.name}{tail}", f"{self.name}?", f"[{self.name}]{tail}"):
            name, options = _split(rest)
            if name == self.name and len(options) == len(self.options):
                return f"{self.source}:{rest}"
        raise UnlogitError(f"name '{plain(self.name)}' of {plain(self.source)}: its brackets must match")


def split(spec: str, kind: str, package: str) -> tuple[ModuleType, str]:
    """Return the module of a spec's source, and the rest of the spec with a leading ~ replaced.

    Args:
        spec: as the user typed it.
        kind: what it opens, for errors, such as "classifier".
        package: whose modules are the sources.

    Raises:
        UnlogitError: no or an unknown source; lists the known ones.
    """
    prefix, colon, rest = spec.partition(":")
    if not colon:
        examples = ", ".join(f"{name}:" for name in registry.names(package))
        raise UnlogitError(
            f"{kind} '{plain(spec)}' has no source prefix: write it as source:name, with one of {examples}"
        )
    return registry.module(package, prefix, f"{kind} prefix"), expand_user(rest)


def read(options: type[T], rest: str, spec: str, name_is: str | None = None) -> tuple[str, T]:
    """Return the name, and the options as a dataclass.

    Args:
        options: a frozen dataclass, whose fields are the options: of type int, float, bool, str, Path, a Literal, a
            tuple of them (values with commas between; one value stands for all of a fixed number), or one of several.
        rest: the spec behind its source.
        spec: all of it, for errors.
        name_is: the option that the name stands for, where there is one.

    Raises:
        UnlogitError: an option is unknown, missing, given twice, of another type, or out of the bounds of its field.
    """
    name, pairs = _split(rest)
    what = f"'{plain(spec)}'"
    hints = get_type_hints(options)
    values: dict[str, Any] = {name_is: name} if name_is and name else {}
    for key, raw in pairs:
        if key not in hints:
            raise unknown(f"option of {what}", plain(key), hints)
        if key in values or not raw:
            raise UnlogitError(f"option '{key}={plain(raw)}' of {what}: give each option once, as {key}=VALUE")
        text = _decoded(raw)
        try:
            # Files used to be written without percent-encoding.
            values[key] = _typed(raw if hints[key] in (Path, Path | None) and os.path.exists(raw) else text, hints[key])  # noqa: PTH110
            wrong = problem(options, key, values[key])
        except ValueError:
            wrong = _allowed(hints[key], text)
        if wrong:
            raise UnlogitError(f"option '{key}={plain(text)}' of {what}: {wrong}")
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        if field.name not in values and field.default is dataclasses.MISSING:
            raise UnlogitError(
                f"{what}: option '{field.name}' is missing: add {field.name}=VALUE; it has {', '.join(hints)}"
            )
    return name, options(**values)


def pairs(query: str) -> list[tuple[str, str]]:
    """Return the options of `key=value&key=value`, decoded."""
    return [(key, _decoded(raw)) for key, raw in _pairs(query)]


def _split(rest: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the name and the options, their values as they are written."""
    end = _closing(rest)
    inner, after = rest[1:end], rest[end + 1 :]
    if end > 0 and AFTER_BRACKETS.fullmatch(after) and (SOURCE.match(inner) or OPTIONS.search(inner)):
        return inner, _pairs(after[1:])
    if found := OPTIONS.search(rest):
        return rest[: found.start()], _pairs(rest[found.end() :])
    return rest.removesuffix("?"), []


def _pairs(query: str) -> list[tuple[str, str]]:
    found = []
    while query:
        key, equals, _ = query.partition("&")[0].partition("=")
        start = len(key) + len(equals)
        end = start + _closing(query[start:]) + 1
        if end == start or query[end : end + 1] not in ("", "&"):
            end = query.find("&", start)
            end = len(query) if end < 0 else end
        if key or equals:
            found.append((key, query[start:end]))
        query = query[end + 1 :]
    return found


def _closing(text: str) -> int:
    """Return the index of the bracket that closes the one at the beginning; -1 where none begins or closes."""
    depth = 0
    for index, letter in enumerate(text if text.startswith("[") else ""):
        depth += (letter == "[") - (letter == "]")
        if depth == 0:
            return index
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
    return re.sub(r"[%&\[\]]", lambda found: f"%{ord(found[0]):02X}", value)


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
    elif kind in (int, float, str):
        return kind(text)
    elif kind is Path:
        return Path(expand_user(text))
    raise ValueError(text)


def _allowed(hint: Any, text: str) -> str:
    """Return what a type allows, in words, and the likely value."""
    kind, args = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        (kind, args), *_ = [(get_origin(each) or each, get_args(each)) for each in args if each is not NoneType]
    if kind is Literal:
        return one_of(text, args)
    if kind is tuple:
        count = "" if args[-1] is ... else f"{len(args)} "
        return f"must be {count}values with commas between, each {KINDS[args[0]]}"
    return f"must be {KINDS[kind]}"
