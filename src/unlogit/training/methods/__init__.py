"""How inverters are learned, one file a method: `unlogit train --method NAME`. The loop around them is shared."""

from __future__ import annotations

from typing import cast

from unlogit import registry
from unlogit.training.methods._base import Method

__all__ = ["Method", "get"]


def get(name: str) -> type[Method]:
    """The method of that name; raises `UnlogitError` that lists the known ones."""
    return cast(type[Method], registry.module(__name__, name, "method").Learning)
