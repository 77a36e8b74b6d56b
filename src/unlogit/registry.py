"""A folder is a registry: every module in it without a leading underscore is one named thing.

Adding a source or a method is adding one file or folder; an analysis also has a position in the report.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from types import ModuleType

from unlogit.errors import UnlogitError, unknown


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


def import_optional(package: str, extra: str, spec: str) -> ModuleType:
    """An optional package; where it is missing, raises `UnlogitError` that names the extra to install."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise UnlogitError(f"'{spec}' needs {error.name}: pip install 'unlogit[{extra}]'") from error
