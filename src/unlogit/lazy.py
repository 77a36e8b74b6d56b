"""Exports of a package that are imported at first use, so that importing the package, and help, stay light."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping


def exports(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return the `__getattr__` of a package whose public names live in its modules.

    Args:
        package: the package's `__name__`.
        homes: by public name, the module of the package that defines it; MODULE:NAME where it is called NAME there.
    """

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        module, _, attribute = homes[name].partition(":")
        return getattr(importlib.import_module(f"{package}.{module}"), attribute or name)

    return get
