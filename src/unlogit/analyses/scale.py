"""Figure 8b of the paper: every logit multiplied by a constant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from unlogit.analyses import Evidence, Result
from unlogit.analyses._sweep import Sweep, SweepConfig, check_amounts, run_sweep
from unlogit.manipulate import scale
from unlogit.settings import Bounds

TITLE = "Scaled logits"
QUESTION = (
    "Scaling the logits changes the confidence and not the class: does it change the looks of the reconstruction, or "
    "its content?"
)


@dataclass(frozen=True)
class Config(SweepConfig):
    """Factors by which logits are multiplied; the defaults are the paper's."""

    exponents: tuple[Annotated[float, Bounds(-30, 30)], ...] = (-0.3, -0.15, 0.0, 0.15, 0.3)
    """Exponents of ten, in increasing order: logits are multiplied by 10 to the power of each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_amounts(self.exponents, "scale exponents")


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield images, curves and their table, and what each factor changes."""
    sweep = Sweep(
        tuple(10**exponent for exponent in config.exponents),
        1.0,
        "factor",
        lambda amount: f"× {amount:.2g}",
        lambda name, raw, amount: scale(raw, amount),
        config.margins,
    )
    note = "Factors are the paper's." if config.exponents == Config().exponents else ""
    yield from run_sweep(sweep, evidence, config.num_images, config.shown, note)
