"""Figure 8a of the paper: a constant added to every logit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from unlogit.analyses import Evidence, Result
from unlogit.analyses._sweep import Sweep, UnitSweepConfig, check_amounts, run_sweep, unit
from unlogit.manipulate import shift
from unlogit.settings import Bounds

TITLE = "Shifted logits"
QUESTION = (
    "A constant added to all logits does not change the softmax: does it change the looks of the reconstruction, or "
    "its content?"
)


@dataclass(frozen=True)
class Config(UnitSweepConfig):
    """Amounts of the shift.

    The paper's own are `units="raw"` with ±0.15 and ±0.30 for its robust and ±0.05 and ±0.10 for its standard network.
    """

    constants: tuple[Annotated[float, Bounds()], ...] = (-0.2, -0.1, 0.0, 0.1, 0.2)
    """Constants added to all logits, in increasing order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_amounts(self.constants, "shift constants")


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield images, curves and their table, and what each constant changes."""
    units = {name: unit(evidence, name, config.units) for name in evidence.measured()}
    sweep = Sweep(
        config.constants,
        0.0,
        "constant in sd" if config.units == "sd" else "constant",
        lambda amount: f"{amount:+g}{' sd' if config.units == 'sd' else ''}".replace("-", "−").replace("+0 ", "0 "),
        lambda name, raw, amount: shift(raw, amount * units[name]),
        config.margins,
    )
    natural = ", ".join(
        f"{float(evidence.raw(name).mean(1).std()) / units[name]:.2g} for {name}" for name in evidence.representations()
    )
    if config.units == "sd":
        sizes = ", ".join(f"{units[name]:.3g} for {name}" for name in evidence.representations())
        note = f"One sd is a logit's standard deviation over images ({sizes}). "
    else:
        note = "Constants are as they stand, in each classifier's own logits. "
    note += f"From image to image the mean of all logits varies by a standard deviation of {natural}, same units."
    yield from run_sweep(sweep, evidence, config.num_images, config.shown, note)
