"""Inverters: one API, one file a method, saved to and opened from folders."""

from __future__ import annotations

from pathlib import Path

from unlogit.errors import UnlogitError
from unlogit.inverters._base import Inverter
from unlogit.inverters.generator import GeneratorInverter

__all__ = ["GeneratorInverter", "Inverter", "known", "open_inverter"]

WEIGHTS = Path(__file__).parents[1] / "weights"


def known() -> list[str]:
    """Names of the trained inverters that come with the package."""
    return sorted(p.parent.name for p in WEIGHTS.glob("*/config.json"))


def open_inverter(name: str) -> GeneratorInverter:
    """Open a trained inverter: the name of one that comes with the package, or a folder."""
    if name in known():
        return GeneratorInverter.load(WEIGHTS / name)
    if Path(name).is_dir():
        return GeneratorInverter.load(name)
    raise UnlogitError(
        f"inverter '{name}': neither a folder nor one of those that come with unlogit ({', '.join(known()) or 'none'})"
    )
