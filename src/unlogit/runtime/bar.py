"""The progress of a training: a bar on a terminal, whole lines in a file."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tqdm import tqdm

BAR_SECONDS, LINE_SECONDS = 0.5, 30.0
"""Least seconds between two updates on a terminal, and between two lines in a file."""
LINE = "{desc}: {n_fmt} of {total_fmt} images in {elapsed}, {remaining} left, {rate_fmt}{postfix}"


class ProgressBar(tqdm):  # type: ignore[misc,type-arg]
    """Show how many images of a training are done.

    Where stderr is a terminal, this is tqdm's bar. Elsewhere it is a line of text now and then, and each line, messages
    included, begins with the name of the training: several processes can write into one file.
    """

    def __init__(self, name: str, total: int, initial: int, shown: bool) -> None:
        """Start at `initial` of `total` images; show nothing unless `shown`."""
        self.by_line = not sys.stderr.isatty()
        super().__init__(
            total=total,
            initial=initial,
            desc=name,
            unit="img",
            unit_scale=True,
            disable=not shown,
            mininterval=LINE_SECONDS if self.by_line else BAR_SECONDS,
            maxinterval=LINE_SECONDS,
            dynamic_ncols=not self.by_line,
            bar_format=LINE if self.by_line else None,
            gui=self.by_line,  # tqdm then writes by `display` alone.
        )
        self.name = name

    def report(self, text: str, file: TextIO | None = None) -> None:
        """Write a message above the bar, or as a line of its own; to stderr unless another file is given."""
        file = file or sys.stderr
        if self.by_line:
            print(f"{self.name}: {text}", file=file, flush=True)
        else:
            self.write(text, file=file)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.by_line:
            # One write, newline included, so that the lines of two processes stay apart.
            self.fp.write(f"{self}\n")
            self.fp.flush()
        else:
            super().display(msg, pos)

    def clear(self, nolock: bool = False) -> None:
        if not self.by_line:
            super().clear(nolock)

    def close(self) -> None:
        if self.by_line and not self.disable:
            self.display()
        super().close()

    def set_postfix(self, *args: Any, **kwargs: Any) -> None:
        """Set the values behind the bar, which the next update shows."""
        super().set_postfix(*args, refresh=not self.by_line, **kwargs)
