"""Figure 8c of the paper: independent noise added to every logit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from unlogit.analyses import Evidence, Result
from unlogit.analyses._sweep import Sweep, UnitSweepConfig, check_amounts, run_sweep, unit
from unlogit.manipulate import perturb
from unlogit.settings import Weight

TITLE = "Perturbed logits"
QUESTION = "How much does a reconstruction change when noise is added to the logits?"


@dataclass(frozen=True)
class Config(UnitSweepConfig):
    """Standard deviations; the paper's own is `units="raw"` with a deviation of 0.742, a variance of 0.55."""

    deviations: tuple[Weight, ...] = (0.0, 0.125, 0.25, 0.5, 1.0)
    """Standard deviations of the noise, in increasing order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_amounts(self.deviations, "perturb deviations")


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield images, curves and their table, and what each amount of noise changes."""
    units = {name: unit(evidence, name, config.units) for name in evidence.measured()}

    def apply(name: str, raw: torch.Tensor, amount: float) -> torch.Tensor:
        # The same noise for every amount, and for all inverters of one dimension: a straight path.
        noise = torch.randn(raw.shape, generator=torch.Generator().manual_seed(evidence.seed))
        return perturb(raw, amount * units[name], noise)

    unit_word = " sd" if config.units == "sd" else ""
    sweep = Sweep(
        config.deviations,
        0.0,
        f"noise's deviation{' in sd' if unit_word else ''}",
        lambda amount: f"{amount:g}{unit_word}",
        apply,
        config.margins,
    )
    note = "An image's noise has one direction and grows along it. "
    if unit_word:
        sizes = ", ".join(f"{units[name]:.3g} for {name}" for name in evidence.representations())
        note += f"One sd is a logit's standard deviation over images ({sizes}); the paper's noise is 0.742, unscaled."
    else:
        note += "Deviations are as they stand, in each classifier's own logits; the paper's is 0.742."
    yield from run_sweep(sweep, evidence, config.num_images, config.shown, note)
