"""A folder is a registry: every module in it without a leading underscore is one named thing.

Adding a source, a method or an analysis is adding one file; nothing else lists them.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable
from types import ModuleType
from urllib.parse import unquote

from unlogit.errors import UnlogitError, unknown
from unlogit.files import expand_user


def names(package: str) -> list[str]:
    """The public module names of a package, sorted."""
    spec = importlib.util.find_spec(package)  # Without importing it, which takes seconds where torch comes with it.
    assert spec is not None and spec.submodule_search_locations is not None, package
    return sorted(m.name for m in pkgutil.iter_modules(spec.submodule_search_locations) if not m.name.startswith("_"))


def module(package: str, name: str, kind: str) -> ModuleType:
    """The module called `name` in `package`; raises `UnlogitError` that lists the known names."""
    known = names(package)
    if name not in known:
        raise unknown(kind, name, known)
    return importlib.import_module(f"{package}.{name}")


def split(spec: str, kind: str, package: str) -> tuple[ModuleType, str]:
    """`prefix:rest` as (module, rest), a leading ~ replaced; raises `UnlogitError` for no or an unknown prefix."""
    prefix, colon, rest = spec.partition(":")
    if not colon:
        examples = ", ".join(f"{name}:" for name in names(package))
        raise UnlogitError(f"{kind} '{spec}' has no source prefix: write it as source:name, with one of {examples}")
    return module(package, prefix, f"{kind} prefix"), expand_user(rest)


def options(rest: str, spec: str, allowed: Iterable[str]) -> tuple[str, dict[str, str]]:
    """`name?key=value&key=value` as (name, options).

    A question mark that no `key=` follows belongs to the name, where it may be a wildcard. `&` in a value is written
    %26. Raises `UnlogitError` for a key that is not allowed, or is given twice or without a value.
    """
    name, mark, query = rest.rpartition("?")
    if not mark or ("=" not in query and query):
        return rest, {}
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if key not in (known := list(allowed)):
            raise unknown(f"option of '{spec}'", key, known)
        if key in found or not value:
            raise UnlogitError(f"option '{part}' of '{spec}': give each option once, as {key}=VALUE")
        found[key] = expand_user(unquote(value))
    return name, found


def needed(package: str, extra: str, spec: str) -> ModuleType:
    """An optional package; where it is missing, raises `UnlogitError` that names the extra to install."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise UnlogitError(f"'{spec}' needs {error.name}: pip install 'unlogit[{extra}]'") from error
