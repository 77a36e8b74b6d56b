"""Warnings that adversarial training is failing, one line each when a sign begins."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from unlogit.errors import UnlogitError
from unlogit.methods import TrainConfig
from unlogit.runtime.progress import in_words

LONG = 5
"""Number of consecutive lines of metrics after which a discriminator counts as saturated."""
SATURATED = 0.05
"""Saturation: distance of the loss to its minimum, as a share of the distance at chance level."""
UNIFORM = 0.1
"""Deviation over reconstructions, as a share of that over originals, below which the generator has collapsed."""
FALLEN = 4.0
"""Number of standard errors below its best value at which agreement counts as fallen."""


DAY = 86_400
"""Duration of a run in seconds beyond which faster settings are suggested."""


class NotFinite(UnlogitError):
    """A loss or a weight is NaN or infinite."""


def check_finite(losses: Mapping[str, float], images: int) -> None:
    """Raise `NotFinite` that names the losses which are NaN or infinite."""
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        raise NotFinite(f"{', '.join(bad)} not finite at {images:,} images")


class Health:
    """Health checks of one run."""

    def __init__(self, config: TrainConfig) -> None:
        self.num_validation_images = config.num_validation_images
        start, least = config.method.loss_d_range
        self.saturated = least + SATURATED * (start - least)
        self.in_a_row = 0
        self.reported: set[str] = set()

    def time_left(self, seconds: float) -> Iterator[str]:
        """Yield advice where a run takes longer than a day."""
        if seconds > DAY:
            yield (
                f"this run takes {in_words(seconds)}: --preset cpu-32, cpu-64 or gpu-64, fewer --num-images, a smaller "
                "--generator.size or --generator.channels, or a GPU are faster"
            )

    def losses(self, losses: Mapping[str, float]) -> Iterator[str]:
        """Yield the warnings of a line of metrics."""
        low = "loss_d" in losses and losses["loss_d"] < self.saturated
        self.in_a_row = self.in_a_row + 1 if low else 0
        yield from self._once(
            self.in_a_row >= LONG,
            f"the discriminator has recognised nearly all generated images for {LONG} lines: the generator learns "
            "little from it; a lower --learning-rate-d or --translation may help",
        )

    def figures(self, figures: Mapping[str, float], earlier: Sequence[Mapping[str, float]]) -> Iterator[str]:
        """Yield the warnings of a validation, given the earlier ones."""
        yield from self._once(
            figures.get("variety", 1.0) < UNIFORM,
            "reconstructions of different images hardly differ: the generator may have collapsed",
        )
        best = max((line.get("agreement", 0.0) for line in earlier), default=0.0)
        error = math.sqrt(best * (1 - best) / self.num_validation_images)
        fallen = figures.get("agreement", 1.0) < best - FALLEN * error
        yield from self._once(
            fallen and error > 0,
            "agreement has fallen far below its best: the training may have diverged; best/ has the best inverter",
        )

    def _once(self, sign: bool, line: str) -> Iterator[str]:
        """Yield the line when a sign begins, and nothing while it lasts."""
        if sign and line not in self.reported:
            yield line
        (self.reported.add if sign else self.reported.discard)(line)
