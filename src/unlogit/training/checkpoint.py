"""Checkpoints of a run: named state objects in one file, replaced atomically, the last two kept."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from unlogit.errors import UnlogitError
from unlogit.files import replacing

KEPT = 2


class Checkpoints:
    """The checkpoints of one run, `folder`/NNNNNNNNN.pt by pictures seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paths(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("[0-9]*.pt"))

    def save(self, images: int, state: dict[str, Any]) -> Path:
        """Write `state` (tensors, numbers, strings and containers of them); returns the path."""
        path = self.folder / f"{images:09d}.pt"
        with replacing(path) as fresh:
            torch.save(state, fresh)
        for old in self.paths()[:-KEPT]:
            old.unlink()
        return path

    def load(self) -> dict[str, Any] | None:
        """The newest state on the CPU, or None where the run has none; raises `UnlogitError` for a damaged file."""
        paths = self.paths()
        if not paths:
            return None
        try:
            state = torch.load(paths[-1], map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            older = f"to go on from {paths[-2].name}, delete it" if len(paths) > 1 else "delete it to start anew"
            raise UnlogitError(f"checkpoint '{paths[-1]}' cannot be read ({reason}): {older}") from error
        assert isinstance(state, dict)
        return state
