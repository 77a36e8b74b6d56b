"""Checkpoints of a run: named state objects in one file, replaced atomically, the last two kept."""

from __future__ import annotations

import contextlib
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unlogit.checksums import damage
from unlogit.errors import UnlogitError, one_line
from unlogit.files import replacing, written_here

KEPT = 2
NAME = re.compile(r"\d{9,}\.pt")
FINGERPRINTS = "fingerprints"
"""Where a checkpoint holds the fingerprints of what a run was started with, by their names."""


class Checkpoints:
    """The checkpoints of one run, `folder`/NNNNNNNNN.pt by images seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paths(self) -> list[Path]:
        """Return the checkpoints' files, oldest first."""
        # By number: from 10^9 images on names are longer than nine digits.
        paths = (path for path in self.folder.glob("*.pt") if NAME.fullmatch(path.name))
        return sorted(paths, key=lambda path: int(path.stem))

    def save(self, images: int, state: dict[str, Any]) -> Path:
        """Write `state` (tensors, numbers, strings and containers of them); returns the path.

        Raises `UnlogitError` where it cannot be written; the earlier ones are then as they were.
        """
        path = self.folder / f"{images:09d}.pt"
        try:
            with replacing(path, written_here) as fresh:
                torch.save(state, fresh)
        except (OSError, RuntimeError) as error:  # torch's writer reports a full disk as RuntimeError.
            raise UnlogitError(
                f"checkpoint '{path}' cannot be written ({_free(self.folder)}; {one_line(error)}): "
                "free disk space; earlier ones are intact, and the same command resumes from the newest"
            ) from error
        for old in self.paths()[:-KEPT]:
            old.unlink()
        return path

    def load(self) -> dict[str, Any] | None:
        """The newest state on the CPU, or None where the run has none; raises `UnlogitError` for a damaged file."""
        paths = self.paths()
        if not paths:
            return None
        try:
            if wrong := damage(paths[-1]):
                raise ValueError(wrong)
            state = torch.load(paths[-1], map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            older = f"delete it to resume from {paths[-2].name}" if len(paths) > 1 else "delete it to start anew"
            raise UnlogitError(f"checkpoint '{paths[-1]}' cannot be read ({reason}): {older}") from error
        if not isinstance(state, dict):
            raise UnlogitError(
                f"checkpoint '{paths[-1]}' holds a {type(state).__name__}: not one of unlogit; delete it"
            )
        return state

    def remove(self) -> None:
        """Delete them when they are needed no more, and the folder unless it holds something else."""
        for path in self.paths():
            path.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def check_unchanged(saved: Mapping[str, Any] | None, name: str, spec: str, fingerprint: str) -> None:
    """Raise `UnlogitError` where a checkpoint was made with something else of the same spec.

    Args:
        saved: the checkpoint, if any; earlier versions wrote none of these fingerprints.
        name: of what is compared, such as "classifier".
        spec: by which it was opened.
        fingerprint: of what is there now.
    """
    if saved is not None and saved.get(FINGERPRINTS, {}).get(name, fingerprint) != fingerprint:
        raise UnlogitError(
            f"{name} '{spec}' has changed since the run was saved: restore the former files, with their dates "
            "(cp -p, rsync -t), to resume, or give another --out"
        )


def _free(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / 1e6:,.0f} MB free" if folder.exists() else "no such folder"
