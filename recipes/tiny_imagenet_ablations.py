"""Measure what makes an inverter good after few natural images: change one setting per training, two seeds each.

Run (the same command resumes; a training takes six to eleven minutes on one core):

    python recipes/tiny_imagenet_ablations.py --data DIR

Trains inverters of the robust twin from random weights, as `tiny_imagenet_methods.py` does for as many images as its
rivals have. Writes ablations.csv into runs/natural_ablations, with the validation metrics of each training on the same
held-out images. `DIR` holds Tiny ImageNet as for `tiny_imagenet_lite0.py`. The table in docs/lab-notes.md was made by
this recipe as of commit 796b835, with another base configuration.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import tiny_imagenet_methods
import tyro
from scenes_ablations import ablate, at_rates

from unlogit.cli import guarded
from unlogit.settings import Checked
from unlogit.training import TrainConfig


@dataclass(frozen=True)
class Ablations(Checked):
    """Options: images, length of training, and rows."""

    data: Path
    """Folder with Tiny ImageNet as for tiny_imagenet_lite0.py: train-*.parquet and val.parquet."""
    out: Path = Path("runs/natural_ablations")
    """Folder for the results: trainings and ablations.csv."""
    num_images: int = 12_800
    """Number of training images seen in each training."""
    held_out: int = 512
    """Number of held-out images for validation."""
    seeds: tuple[int, ...] = (0, 1)
    """Random seeds; each row is trained once per seed."""
    rows: tuple[str, ...] = ()
    """Names of the rows to train. Default: all."""


def changed(base: TrainConfig) -> dict[str, TrainConfig]:
    """What is compared, by what differs from the first."""
    judge = base.method.discriminator
    return {
        "the recipe": base,
        "no pixel branch": replace(
            base,
            method=replace(base.method, discriminator=replace(judge, pixel_channels=0), r1=0.0),
        ),
        "pixel branch at half the weight": replace(
            base, method=replace(base.method, discriminator=replace(judge, pixel_weight=1.0))
        ),
        "no spectral loss": replace(base, method=replace(base.method, spectral_weight=0.0)),
        "heads with spectral norm": replace(
            base, method=replace(base.method, discriminator=replace(judge, head_spectral_norm=True))
        ),
        "layout weight 10": replace(base, method=replace(base.method, layout_weight=10.0)),
        "no layout loss": replace(base, method=replace(base.method, layout_weight=0.0)),
        "re-encoding loss": replace(base, method=replace(base.method, reencoding_weight=1.0)),
        "G learns at half": replace(base, method=replace(base.method, learning_rate_g=base.method.learning_rate_g / 2)),
        "D learns at a quarter": replace(
            base, method=replace(base.method, learning_rate_d=base.method.learning_rate_d / 4)
        ),
        "both learn at twice": at_rates(base, 2),
        "a warm start": replace(
            base,
            method=replace(base.method, warm_start=base.num_images // 4, discriminator_first=base.num_images // 16),
        ),
        "the representation in the first layer": replace(
            base, method=replace(base.method, generator=replace(base.method.generator, condition_first=True))
        ),
        "not shifted for D": replace(base, method=replace(base.method, translation=False)),
        "late maps alone for D": replace(
            base,
            method=replace(base.method, discriminator=replace(judge, maps=judge.maps[2:], widths=judge.widths[2:])),
        ),
        "D's features at 64 px": replace(
            base, method=replace(base.method, discriminator=replace(judge, network=f"{judge.network}?size=64"))
        ),
    }


def main(ablations: Ablations) -> None:
    """Train all, one after another, and write the table after each."""
    natural = tiny_imagenet_methods.Natural(ablations.data, out=ablations.out, num_images=ablations.num_images)
    base = tiny_imagenet_methods.configs(natural)["paper, as many images, no warm start"]
    found = changed(replace(base, num_validation_images=ablations.held_out))
    ablate(ablations.out, found, ablations.rows, ablations.seeds)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Ablations, description=__doc__))))
