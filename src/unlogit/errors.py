"""Errors that a user can fix: each states what was given, what is allowed and the likely fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnlogitError(Exception):
    """A mistake in the input of unlogit; the command line prints it as one line and exits with 2."""


class BrokenImage(UnlogitError):
    """One image could not be decoded; loaders skip it and count it."""


def unknown(kind: str, given: str, allowed: Iterable[str]) -> UnlogitError:
    """Return the error for a name that is not allowed; it lists the allowed names and the closest match."""
    return UnlogitError(f"unknown {kind} '{given}': {one_of(given, allowed)}")


def one_of(given: str, allowed: Iterable[str]) -> str:
    """Return the part of an error that lists what is allowed and names the closest match."""
    names = sorted(allowed)
    return f"must be one of {', '.join(names)}.{did_you_mean(given, names)}"


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """Return " Did you mean ...?" with the closest match; empty where nothing is close."""
    close = difflib.get_close_matches(given, list(allowed), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def first_line(error: Exception) -> str:
    """Return the first sentence of another library's error, without the advice that often follows."""
    lines = str(error).strip().splitlines()
    return lines[0].split(". ")[0] if lines else type(error).__name__


def one_line(error: Exception, most: int = 300) -> str:
    """Return another library's whole message in one line, whose advice may list what is allowed."""
    return " ".join(str(error).split())[:most] or type(error).__name__
