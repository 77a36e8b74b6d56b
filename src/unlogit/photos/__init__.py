"""Freely licensed photographs to try an inverter on; CREDITS.md names their authors and licences."""

from __future__ import annotations

from pathlib import Path


def paths() -> list[Path]:
    """The photographs' files, by name."""
    return sorted(Path(__file__).parent.glob("*.jpg"))
