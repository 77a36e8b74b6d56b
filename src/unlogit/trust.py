"""Whose code may run: what the user types is the user's own, what a file names is a stranger's.

One state for everything that is opened, however deeply nested: a source that opens another one need not pass anything
on. Whoever reads a spec from a file opens it inside `named_by`, and `open_classifier` does so for everything that a
source opens in turn. Outside of any block the state is the safe one: specs are typed, files may not name code.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path

from unlogit.errors import UnlogitError


@dataclass(frozen=True)
class _State:
    """Who names what is opened now.

    Attributes:
        allowed: the user allows files to name code, by --trust-code or trust_code=True.
        file: the file that names it, in words; None where the user typed it.
        hub: the folder from the Hugging Face Hub that this file lies in; None for a local one.
    """

    allowed: bool = False
    file: str | None = None
    hub: Path | None = None


SAFEST = _State()
_state: ContextVar[_State] = ContextVar("trust", default=SAFEST)


@contextmanager
def trusting(code: bool) -> Iterator[None]:
    """Allow files to name code that runs, where `code` is true; a permission from further out stays."""
    with _with(replace(_state.get(), allowed=_state.get().allowed or code)):
        yield


@contextmanager
def named_by(file: str, hub: Path | None = None) -> Iterator[None]:
    """Treat every spec that is opened in the block as named by a file, and not typed by the user.

    Args:
        file: what it is, for errors, such as "inverter 'runs/a/inverter'".
        hub: its folder, where that comes from the Hub.
    """
    with _with(replace(_state.get(), file=file, hub=hub or _state.get().hub)):
        yield


@contextmanager
def _with(state: _State) -> Iterator[None]:
    token = _state.set(state)
    try:
        yield
    finally:
        _state.reset(token)


def check_source(source: str, spec: str, safe: Collection[str], from_hub: Collection[str]) -> None:
    """Raise `UnlogitError` where a file names a classifier that the user did not allow it to.

    Args:
        source: the prefix of the spec.
        spec: for the error.
        safe: sources that never run code that a file brings; a file may name them.
        from_hub: those of them that a folder from the Hub may name, whatever the user allows.
    """
    state = _state.get()
    if state.file is None:
        return
    names, alone = (
        f"{state.file} names the classifier '{spec}'",
        "download the folder, read it, and open it by its path",
    )
    if source not in safe and state.hub is not None:
        raise UnlogitError(f"{names}, which runs code of its own, and comes from the Hub: {alone}")
    if source not in safe and not state.allowed:
        raise UnlogitError(
            f"{names}, which runs code of its own: read that code, and allow it with --trust-code, or trust_code=True "
            "in Python"
        )
    if source not in from_hub and state.hub is not None:
        raise UnlogitError(f"{names} and comes from the Hub: must be one of {', '.join(sorted(from_hub))}; {alone}")


def check_path(path: Path) -> Path:
    """Return the path; raise `UnlogitError` where a folder from the Hub names a file outside of itself.

    Such a file would be read for a stranger, and its lines shown as class names.
    """
    state = _state.get()
    if state.hub is not None and not path.is_relative_to(state.hub):
        raise UnlogitError(f"{state.file} comes from the Hub and names '{path}': must be a file in its own folder")
    return path
