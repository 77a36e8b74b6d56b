"""Writing files: all or nothing, one run at a time in a folder, and never over what this program did not write."""

from __future__ import annotations

import ctypes
import errno
import json
import math
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from fnmatch import fnmatch
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlogit.errors import UnlogitError, one_line

if TYPE_CHECKING:
    from torch import Tensor

try:
    import fcntl
except ImportError:  # Windows, which has no locks of this kind.
    fcntl = None  # type: ignore[assignment]

Ours = Callable[[Path], bool]
"""Whether this program wrote the file or folder at a path."""

HEAD = 4_096
"""Bytes at the beginning of a file that are searched for a signature."""
SYSTEM = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""Files that file managers leave in any folder."""
LOCK = ".unlogit.lock"
"""The file whose lock the writer of a run's folder holds."""
STAGING = (".unlogit-", ".partial")
"""How the name of a folder begins and ends in which something is being written, beside its target."""
ASIDE = ".former"
"""Where in it the former target waits on a file system that cannot exchange two folders."""
EARLIER = re.compile(r"\.(?P<name>.+)\.\d+\.(?P<kind>partial|old)")
"""What version 0.1.0 called either."""
DAY = 86_400.0
"""Age in seconds at which a staging folder counts as abandoned where the file system has no locks."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
EXCHANGE = 2
"""RENAME_EXCHANGE of Linux' renameat2, and RENAME_SWAP of macOS' renamex_np."""

_recovered: set[Path] = set()
"""Folders in which this process has cleared what others left: listing one for every file would be slow."""


# What may be replaced


SIGNATURE = {"Software": "unlogit"}
"""What our PNG files say of themselves."""


def check_replaceable(target: Path, ours: Ours | None = None, *, folder: bool = False) -> None:
    """Raise `UnlogitError` unless `target` is new, empty, or a file (or folder) that `ours` recognises."""
    if not target.exists():
        return
    if folder and target.is_dir():
        written = all(path.name in SYSTEM for path in target.iterdir()) or (ours is not None and ours(target))
    elif not folder and target.is_file():
        written = target.stat().st_size == 0 or (ours is not None and ours(target))
    else:
        written = False
    if not written:
        raise UnlogitError(
            f"'{target}' exists and unlogit did not write it: only unlogit's own output is replaced; "
            "move it away, or give another folder (--out)"
        )


def marked(*signatures: bytes) -> Ours:
    """Return what recognises files that have one of `signatures` in their first bytes."""

    def ours(path: Path) -> bool:
        with path.open("rb") as file:
            head = file.read(HEAD)
        return any(signature in head for signature in signatures)

    return ours


def holding(marker: str, keys: Collection[str], names: Callable[[dict[str, Any]], Iterable[str]]) -> Ours:
    """Return what recognises folders by a JSON file, and by holding nothing else than what belongs to it.

    Args:
        marker: name of the JSON file.
        keys: what it must have.
        names: from its content to the names of all files that belong into the folder.
    """

    def ours(folder: Path) -> bool:
        try:
            content = json.loads((folder / marker).read_text(encoding="utf-8"))
            if not isinstance(content, dict) or not set(keys) <= content.keys():
                return False
            expected = {marker, *names(content)}
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return {path.name for path in folder.iterdir()} - SYSTEM <= expected

    return ours


signed = marked(b"Software\0unlogit")
"""Recognises PNG files with `SIGNATURE`."""


def write_png(pixels: Tensor, path: Path) -> None:
    """Write uint8 pixels, 3 x H x W, as a PNG with `SIGNATURE`, which may replace one that has it."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in SIGNATURE.items():
        info.add_text(key, text)
    with replacing(path, signed) as fresh:
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(fresh, "PNG", pnginfo=info)


def written_here(_path: Path) -> bool:
    """Recognise everything: for files in a folder that is ours as a whole, such as a cache or a checked run."""
    return True


# Writing


@contextmanager
def replacing(target: Path, ours: Ours | None = None, *, folder: bool = False) -> Iterator[Path]:
    """Yield a path to write a file (or fill a folder) at; it takes the place of `target` when the block succeeds.

    A reader finds the former or the new one at any moment. After an error the target is as it was; after a kill too,
    and what was half-written goes when a process next writes into the same folder.

    Args:
        target: the final path; a link is followed.
        ours: recognises what may be replaced, beside what is empty.
        folder: whether a folder is written.

    Raises:
        UnlogitError: something is at `target` that this program did not write.
    """
    check_replaceable(target, ours, folder=folder)
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.parent not in _recovered:
        recover(target.parent)
    with _staging(target.parent) as staging:
        fresh = staging / target.name
        if folder:
            fresh.mkdir()
        yield fresh
        for path in (*(fresh.rglob("*") if folder else ()), fresh):
            _sync(path)
        _install(fresh, target)
        _sync(target.parent)


def recover(folder: Path, *patterns: str) -> None:
    """Clear what killed processes left in `folder`; a target that was set aside comes back.

    Args:
        folder: where.
        patterns: names of targets of which the leftovers of version 0.1.0 are cleared too, .NAME.PID.partial and
            .NAME.PID.old.
    """
    folder = Path(os.path.realpath(folder))
    _recovered.add(folder)
    for staging in folder.glob("*".join(STAGING)):
        if _abandoned(staging):
            for former in (staging / ASIDE).glob("*"):
                _bring_back(former, folder / former.name)
            shutil.rmtree(staging, ignore_errors=True)
    for left in folder.iterdir() if patterns and folder.is_dir() else ():
        match = EARLIER.fullmatch(left.name)
        if match is not None and any(fnmatch(match["name"], pattern) for pattern in patterns):
            if match["kind"] == "old":
                _bring_back(left, folder / match["name"])
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _bring_back(former: Path, target: Path) -> None:
    if not target.exists():
        former.rename(target)


@contextmanager
def _staging(parent: Path) -> Iterator[Path]:
    """A locked folder beside the target, where a rename reaches it; gone in the end."""
    while True:
        staging = Path(tempfile.mkdtemp(STAGING[1], STAGING[0], parent))
        descriptor = _open_folder(staging)
        if descriptor is not None:
            _lock(descriptor)
        # Another process that recovers may have come between its making and its locking.
        if staging.exists():
            break
        if descriptor is not None:
            os.close(descriptor)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _install(fresh: Path, target: Path) -> None:
    if not fresh.is_dir() or not target.exists():
        fresh.replace(target)
    elif not _exchange(fresh, target):
        aside = fresh.with_name(ASIDE)
        aside.mkdir()
        target.rename(aside / target.name)
        fresh.rename(target)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step, which leaves neither missing; returns whether the system can."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            return bool(library.renamex_np(os.fsencode(one), os.fsencode(other), EXCHANGE) == 0)
        here = ctypes.c_int(-100)  # AT_FDCWD: paths as they are.
        return bool(library.renameat2(here, os.fsencode(one), here, os.fsencode(other), ctypes.c_uint(EXCHANGE)) == 0)
    except (AttributeError, OSError, TypeError):
        return False


def _sync(path: Path) -> None:
    """Bring a file, or a folder's list of names, to the disk."""
    if path.is_dir():
        descriptor = _open_folder(path)
        if descriptor is None:
            return
    elif path.is_file():
        descriptor = os.open(path, os.O_RDONLY)
    else:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_folder(folder: Path) -> int | None:
    """A descriptor of a folder; None where it is gone or the system has none."""
    try:
        return os.open(folder, os.O_RDONLY)
    except (FileNotFoundError, PermissionError):
        return None


def _lock(descriptor: int) -> bool | None:
    """Lock a file or folder for this process: whether that succeeded, or None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _abandoned(staging: Path) -> bool:
    descriptor = _open_folder(staging)
    locked = None if descriptor is None else _lock(descriptor)
    if descriptor is not None:
        os.close(descriptor)
    return _older(staging, DAY) if locked is None else locked


def _older(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime > seconds
    except FileNotFoundError:
        return False


# One writer at a time


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only process that writes a run into `folder`; raises `UnlogitError` that names the one which does.

    The system frees the lock however a process ends. Its file goes when the block succeeds, and otherwise stays, as
    the sign of a run that is not finished; a folder in which nothing came to be is left as it was before.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    descriptor = _hold(path)
    try:
        yield
    except BaseException:
        if [entry.name for entry in folder.iterdir()] == [LOCK]:
            path.unlink()
            if is_new:
                folder.rmdir()
        raise
    else:
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def is_unfinished(folder: Path) -> bool:
    """Whether a run that `locked` guarded has begun in `folder` and not ended."""
    return (folder / LOCK).is_file()


def _hold(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if _lock(descriptor) is False:
            holder = os.read(descriptor, HEAD).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise UnlogitError(
                f"'{path.parent}' is being written by {holder}: wait for it or stop it, or give another --out"
            )
        # Whoever held it before may have removed the file after it was opened here.
        if _is_open_at(path, descriptor):
            break
        os.close(descriptor)
    os.ftruncate(descriptor, 0)
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    os.write(descriptor, f"process {os.getpid()} on {platform.node()} since {since}\n".encode())
    return descriptor


def _is_open_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


# Content


def to_json(value: object, indent: int | None = None) -> str:
    """Return `value` as JSON, with null for NaN and infinity, which JSON does not have, and text for paths."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def expand_user(path: str) -> str:
    """Return a path with a leading ~ or ~USER replaced by the home folder; raises `UnlogitError` for unknown users."""
    expanded = os.path.expanduser(path)  # noqa: PTH111, since pathlib would change the rest of the path too
    if expanded == path and path.startswith("~"):
        raise UnlogitError(f"path '{path}': no such user; for a file of that name write ./{path}")
    return expanded


def unique_name(name: str, taken: Collection[str]) -> str:
    """Return `name`, or with a number after it, unlike all in `taken` on any file system: case does not count."""
    used = {each.casefold() for each in taken}
    return next(each for n in count(1) if (each := name if n == 1 else f"{name}-{n}").casefold() not in used)


@contextmanager
def report_disk_full(folder: Path | str) -> Iterator[None]:
    """Turn the error of a full disk, from whatever library, into `UnlogitError`."""
    try:
        yield
    except UnlogitError:
        raise
    except Exception as error:
        # safetensors and SQLite say it in words alone.
        message = str(error)
        if getattr(error, "errno", None) not in FULL and not any(
            words in message for words in ("disk is full", *(f"os error {number})" for number in FULL))
        ):
            raise
        raise UnlogitError(
            f"cannot write to '{folder}' ({one_line(error)}): free disk space and run the same command again; "
            "a run resumes from its last checkpoint"
        ) from error
