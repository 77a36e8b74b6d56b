"""What a source found when it was opened: how much of it is taken, and why the rest is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from unlogit.outside import plain

SHOWN = 6
"""Reasons in one line."""


class Inventory:
    """Counts of what was found in a source and of what is left out of it.

    Attributes:
        unit: what is counted: files, members of shards, rows or images.
        taken: how many of them the source reads, labels in files of their own included.
        left_out: how many are left out, by reason.
        examples: the name of the first one left out, by reason.
    """

    def __init__(self, unit: str, taken: int = 0) -> None:
        self.unit = unit
        self.taken = taken
        self.left_out: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    @property
    def seen(self) -> int:
        """How many were found, taken or not."""
        return self.taken + self.left_out.total()

    def leave_out(self, reason: str, name: str, count: int = 1) -> None:
        """Count one that is not taken, or several of the same reason."""
        self.left_out[reason] += count
        self.examples.setdefault(reason, plain(name))

    def merge(self, taken: int, left_out: Mapping[str, int], examples: Mapping[str, str]) -> None:
        """Add what was found in another part of the source, such as the next shard."""
        self.taken += taken
        for reason, count in left_out.items():
            self.leave_out(reason, examples[reason], count)

    def summary(self) -> str:
        """Return one line, such as `12 files seen, 10 taken; left out: 2 hidden (.DS_Store)`."""
        reasons = [f"{count:,} {reason} ({self.examples[reason]})" for reason, count in self.left_out.most_common()]
        if len(reasons) > SHOWN:
            rest = sum(count for _, count in self.left_out.most_common()[SHOWN:])
            reasons = [*reasons[:SHOWN], f"{rest:,} for {len(reasons) - SHOWN:,} more reasons"]
        line = f"{self.seen:,} {self.unit} seen, {self.taken:,} taken"
        return f"{line}; left out: {', '.join(reasons)}" if reasons else line
