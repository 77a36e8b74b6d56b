"""Writing so that nothing half-written is ever left behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path, *, folder: bool = False) -> Iterator[Path]:
    """A path beside `target` to write a file (or fill a folder) at; takes the target's place when the block succeeds.

    After an error the target is as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}.partial")
    _remove(fresh)
    if folder:
        fresh.mkdir()
    try:
        yield fresh
        _sync(fresh)
        if target.is_dir():
            old = target.with_name(f".{target.name}.{os.getpid()}.old")
            _remove(old)
            target.rename(old)
            fresh.rename(target)
            _remove(old)
        else:
            fresh.replace(target)
    finally:
        _remove(fresh)


def _sync(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
