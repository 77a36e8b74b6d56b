"""Signs that an adversarial training is going wrong, reported in one line each when they begin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from unlogit.errors import UnlogitError
from unlogit.methods import TrainConfig
from unlogit.runtime.progress import in_words

LONG = 5
"""Lines of metrics in a row that make a discriminator's saturation."""
SATURATED = 0.05
"""Share of the way from the loss of a discriminator that knows nothing to its minimum that is left."""
UNIFORM = 0.1
"""Deviation over reconstructions, as a share of that over originals, below which they are called alike."""
FALLEN = 4.0
"""Standard errors by which agreement must lie below its best."""


DAY = 86_400
"""Seconds beyond which a run is so long that faster settings are named."""


class NotFinite(UnlogitError):
    """A loss or a weight is NaN or infinite."""


def check_finite(losses: Mapping[str, float], images: int) -> None:
    """Raise `NotFinite` that names the losses which are NaN or infinite."""
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        raise NotFinite(f"{', '.join(bad)} not finite at {images:,} images")


class Health:
    """What is seen of one run as it goes on."""

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
        """What a line of metrics gives cause to say."""
        low = "loss_d" in losses and losses["loss_d"] < self.saturated
        self.in_a_row = self.in_a_row + 1 if low else 0
        yield from self._once(
            self.in_a_row >= LONG,
            f"the discriminator has spotted nearly every fake for {LONG} lines: the generator learns little from it; "
            "a lower --learning-rate-d or --translation may help",
        )

    def figures(self, figures: Mapping[str, float], earlier: Sequence[Mapping[str, float]]) -> Iterator[str]:
        """What a validation gives cause to say after the earlier ones."""
        yield from self._once(
            figures.get("variety", 1.0) < UNIFORM,
            "reconstructions of different images hardly differ: the generator may have collapsed",
        )
        best = max((line.get("agreement", 0.0) for line in earlier), default=0.0)
        error = math.sqrt(best * (1 - best) / self.num_validation_images)
        fallen = figures.get("agreement", 1.0) < best - FALLEN * error
        yield from self._once(
            fallen and error > 0,
            "agreement has fallen far below its best: the training may have come apart; best/ has the best inverter",
        )

    def _once(self, sign: bool, line: str) -> Iterator[str]:
        """The line where a sign begins, and nothing while it lasts."""
        if sign and line not in self.reported:
            yield line
        (self.reported.add if sign else self.reported.discard)(line)
