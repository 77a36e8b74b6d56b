"""What happens to images that cannot be decoded: skipped and counted, until there are too many."""

from __future__ import annotations

import sys
from collections.abc import Container

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images._inventory import Inventory
from unlogit.outside import plain

MAX_SHARE, FEWEST = 0.01, 500
"""A run stops once more than this share of its images is broken, of at least so many: five are always let pass."""
SHOWN = 3


class Broken(Container[int]):
    """The broken images of one source met so far, shared by all who read it.

    Args:
        spec: what opened the source.
        inventory: what was left out when it was opened; `warn` reports that too.

    Attributes:
        reasons: why, by index; each begins with the image's name.
        good: how many images were decoded, those of later epochs again.
        strict: the first broken image stops the run.
    """

    def __init__(self, spec: str, inventory: Inventory) -> None:
        self.spec = spec
        self.inventory = inventory
        self.reasons: dict[int, str] = {}
        self.good = 0
        self.strict = False

    def __len__(self) -> int:
        return len(self.reasons)

    def __contains__(self, index: object) -> bool:
        return index in self.reasons

    def add(self, index: int, error: BrokenImage) -> None:
        """Count one; raises `UnlogitError` with the first few names and reasons where that is one too many."""
        self.reasons[index] = str(error)
        if self.strict:
            raise UnlogitError(f"{error}; repair or remove it, or leave out --strict to skip broken images")
        seen = self.good + len(self)
        if len(self) > MAX_SHARE * max(seen, FEWEST):
            raise UnlogitError(
                f"{self.spec}: {len(self):,} of the first {seen:,} images are broken, which is over "
                f"{MAX_SHARE:.0%}; repair or remove them: {self._first()}"
            )

    def summary(self) -> str:
        """One line, with the first few names and reasons; empty where nothing is broken."""
        if not self.reasons:
            return ""
        what = "image is" if len(self) == 1 else "images are"
        return f"{self.spec}: {len(self):,} {what} broken and left out: {self._first()}"

    def warn(self) -> None:
        """Print what was left out when the source was opened, and the broken images, if there are any, to stderr."""
        if self.inventory.left_out:
            print(f"unlogit: {plain(self.spec)}: {self.inventory.summary()}", file=sys.stderr)
        if self.reasons:
            print(f"unlogit: {self.summary()}", file=sys.stderr)

    def _first(self) -> str:
        more = f"; and {len(self) - SHOWN:,} more" if len(self) > SHOWN else ""
        return "; ".join([self.reasons[index] for index in sorted(self.reasons)[:SHOWN]]) + more
