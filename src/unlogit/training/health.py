"""Signs that an adversarial training is going wrong, told in one line each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from unlogit.errors import UnlogitError
from unlogit.training.checkpoint import Checkpoints

SATURATED = -1.98
UNIFORM = 0.01


def check_finite(losses: Mapping[str, float], images: int, checkpoints: Checkpoints) -> None:
    """Raise `UnlogitError` where a loss is NaN or infinite, saying where one can go on from."""
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        paths = checkpoints.paths()
        advice = f"the last good checkpoint is {paths[-1]}" if paths else "there is no checkpoint yet"
        raise UnlogitError(
            f"{', '.join(bad)} not finite at {images:,} pictures; {advice}: "
            "run again with lower learning rates in a new --out, or --precision fp32"
        )


def warnings(losses: Mapping[str, float], figures: Mapping[str, float]) -> Iterator[str]:
    """What the training losses and the last validation figures give cause to say."""
    if losses.get("loss_d", 0.0) < SATURATED:
        yield "the discriminator tells every fake (hinge at its minimum): the generator learns little from it"
    if figures.get("diversity", 1.0) < UNIFORM and figures.get("agreement", 1.0) < UNIFORM:
        yield "reconstructions hardly differ and match no class: the generator may have collapsed"
