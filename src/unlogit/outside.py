"""Strings from outside (class names, file names, names of inverters) made safe for where they go.

File names may hold bytes that are no UTF-8 (Python keeps them as lone surrogates), class names come from datasets, and
names of inverters from the command line. Any of them may hold what another part reads as an instruction: `$` is
mathematics to matplotlib, a leading `_` hides a legend's entry, `[` is a wildcard to glob, `/` another folder.
"""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

MAX_FILE_NAME = 200
"""Longest name that `file_name` returns, in bytes: file systems allow 255, and a suffix is still to come."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_WHOLE = re.compile(r"-?[0-9]{1,18}")


def plain(text: str) -> str:
    r"""Return the text in one line that any terminal and UTF-8 can take.

    Control characters and lone surrogates become escapes such as `\x1b`; all others stay.
    """
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


def encodable(text: str) -> str:
    r"""Return the text with lone surrogates, which UTF-8 does not take, as escapes such as `\udc80`."""
    return _SURROGATE.sub(lambda match: ascii(match[0])[1:-1], text)


def figure_text(text: str) -> str:
    """Return the text as matplotlib draws it literally, in a title, a tick or a legend; line breaks stay.

    Wrap or shorten it before: what is escaped must not be cut.
    """
    lines = [plain(line).replace("$", r"\$") for line in text.split("\n")]
    # A legend leaves out what begins with an underscore.
    return "\n".join(f" {line}" if line.startswith("_") else line for line in lines)


def data(text: str) -> bytes:
    """Return the text as bytes for a digest: UTF-8, in which lone surrogates are allowed."""
    return text.encode("utf-8", "surrogatepass")


def file_name(text: str) -> str:
    """Return the text as a visible file's name without a suffix: no separators, at most `MAX_FILE_NAME` bytes."""
    name = plain(text).replace("/", "-").replace("\\", "-").lstrip(". ")
    name = name.encode()[:MAX_FILE_NAME].decode(errors="ignore").rstrip(". ")
    return name or "unnamed"


def matching(pattern: str) -> list[Path]:
    """Return the regular files that a pattern matches, sorted; a file of exactly that name comes before wildcards."""
    if "\0" in pattern:  # No file's name can hold it, and glob raises an error.
        return []
    exact = Path(pattern).expanduser()
    files = [exact] if exact.is_file() else [Path(file) for file in glob.glob(str(exact), recursive=True)]
    return sorted(file for file in files if file.is_file())


def all_whole(names: Sequence[str]) -> bool:
    """Return whether all names are whole numbers, such as 0 ... 11, which are sorted by value and not as text."""
    return all(_WHOLE.fullmatch(name) for name in names)


def in_order(names: Sequence[str]) -> list[str]:
    """Return names of classes sorted: by value where all are whole numbers, else alphabetically."""
    return sorted(names, key=lambda name: (int(name), name)) if all_whole(names) else sorted(names)


@lru_cache(maxsize=32)
def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of classes, with the index after those that several classes share: `crane (134)`."""
    counts = Counter(names)
    marked = tuple(f"{name} ({index})" if counts[name] > 1 else name for index, name in enumerate(names))
    return marked if len(set(marked)) == len(marked) else distinct(marked)


@lru_cache(maxsize=32)
def short_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first synonym of each class in one line, with the index after those that several classes share."""
    return distinct(tuple(plain(name.split(",")[0]) for name in names))
