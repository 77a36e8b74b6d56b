"""Measure what makes an inverter good after few images: change one setting per training, with two seeds each.

Run (the same command resumes; a training takes as long per image as the demo's, some take longer):

    python recipes/scenes_ablations.py --classifier small:runs/demo/robust/classifier

Trains inverters of the demo's robust classifier for equally many images, with a generator learning rate of 4e-4, as in
the demo before this table. Writes ablations.csv into runs/ablations, with the validation metrics of each training on
the same held-out scenes. Expected: the table in docs/lab-notes.md.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from demo import Demo
from scenes_methods import folder, of

from unlogit.cli import guarded
from unlogit.errors import unknown
from unlogit.files import marked, replacing
from unlogit.methods.biggan import DiscriminatorConfig
from unlogit.settings import Checked
from unlogit.training import TrainConfig, train

OURS = marked(b"what,seed,images,n,")
"""Recognises an earlier ablations.csv, which may be replaced."""
FIGURES = ("agreement", "agreement5", "logit_cosine", "layout_cosine", "pixel_error", "diversity")


@dataclass(frozen=True)
class Ablations(Checked):
    """Options: classifier, length of training, and rows."""

    classifier: str
    """Robust classifier of scenes to invert, as source:name; the discriminator uses its features too."""
    out: Path = Path("runs/ablations")
    """Folder for the results: trainings and ablations.csv."""
    num_images: int = 12_800
    """Number of training images seen in each training."""
    held_out: int = 512
    """Number of held-out images for validation."""
    seeds: tuple[int, ...] = (0, 1)
    """Random seeds; each row is trained once per seed."""
    rows: tuple[str, ...] = ()
    """Names of the rows to train. Default: all."""


def changed(demo: TrainConfig) -> dict[str, TrainConfig]:
    """What is compared, by what differs from the first."""
    base, judge = replace(demo, method=replace(demo.method, learning_rate_g=4e-4)), demo.method.discriminator
    return {
        "all at 4e-4": base,
        "D learns at a quarter": replace(
            base, method=replace(base.method, learning_rate_d=base.method.learning_rate_d / 4)
        ),
        "D learns at four times": replace(
            base, method=replace(base.method, learning_rate_d=base.method.learning_rate_d * 4)
        ),
        "G learns at half": replace(base, method=replace(base.method, learning_rate_g=base.method.learning_rate_g / 2)),
        "G learns at twice, as in the demo": replace(
            base, method=replace(base.method, learning_rate_g=base.method.learning_rate_g * 2)
        ),
        "G learns at four times": replace(
            base, method=replace(base.method, learning_rate_g=base.method.learning_rate_g * 4)
        ),
        "both learn at twice": at_rates(base, 2),
        "both learn at four times": at_rates(base, 4),
        "two D steps": replace(
            base,
            method=replace(base.method, shared_fakes=False, d_steps=2),
        ),
        "batch 32": replace(base, batch=32),
        "batch 8": replace(base, batch=8),
        # So short a run has a half-life of a tenth of its images, whatever a longer one is given.
        "EMA half-life 200 images": replace(base, ema_half_life=200),
        "shifted for D (DiffAugment)": replace(base, method=replace(base.method, translation=True)),
        "R1 and R2, gamma 0.1": replace(base, method=replace(base.method, gradient_penalty=0.1)),
        "no pixels for D": replace(
            base,
            method=replace(base.method, discriminator=replace(judge, maps=judge.maps[1:], widths=judge.widths[1:])),
        ),
        "late maps alone for D": replace(
            base, method=replace(base.method, discriminator=replace(judge, maps=judge.maps[3:], widths=(64,)))
        ),
        "heads twice as wide": replace(
            base,
            method=replace(
                base.method, discriminator=replace(judge, widths=tuple(2 * width for width in judge.widths))
            ),
        ),
        "re-encoding term": replace(base, method=replace(base.method, reencoding_weight=1.0)),
        "no layout term": replace(base, method=replace(base.method, layout_weight=0.0)),
        "the paper's discriminator": replace(base, method=replace(base.method, discriminator=_paper())),
        "the paper's, and its loss alone": replace(
            base,
            method=replace(base.method, discriminator=_paper(), layout_weight=0.0),
        ),
        "the paper's way": replace(
            base,
            method=replace(
                base.method,
                discriminator=_paper(),
                layout_weight=0.0,
                learning_rate_g=1e-4,
                learning_rate_d=5e-4,
                betas=(0.0, 0.999),
                shared_fakes=False,
                d_steps=2,
            ),
        ),
    }


def at_rates(base: TrainConfig, factor: float) -> TrainConfig:
    """Both networks learning `factor` times as fast."""
    return replace(
        base,
        method=replace(
            base.method,
            learning_rate_g=base.method.learning_rate_g * factor,
            learning_rate_d=base.method.learning_rate_d * factor,
        ),
    )


def _paper() -> DiscriminatorConfig:
    """BigGAN's, of the generator's width."""
    return DiscriminatorConfig(channels=12, attention=None)


def main(ablations: Ablations) -> None:
    """Train all, one after another, and write the table after each."""
    demo = of(Demo(out=ablations.out, num_images=ablations.num_images), ablations.classifier)
    found = changed(replace(demo, num_validation_images=ablations.held_out))
    ablate(ablations.out, found, ablations.rows, ablations.seeds)


def ablate(out: Path, found: dict[str, TrainConfig], rows: Sequence[str], seeds: Sequence[int]) -> None:
    """Train these rows, or all, with each of the seeds, and write ablations.csv into `out` after each."""
    for name in rows:
        if name not in found:
            raise unknown("row", name, found)
    lines: list[dict[str, str | int]] = []
    for name, config in found.items():
        if rows and name not in rows:
            continue
        for seed in seeds:
            figures = train(replace(config, out=out / folder(name) / str(seed), seed=seed))
            formatted = {key: f"{figures[key]:.4f}" for key in FIGURES}
            lines.append(
                {
                    "what": name,
                    "seed": seed,
                    "images": config.num_images,
                    "n": config.num_validation_images,
                    **formatted,
                }
            )
            print(", ".join(f"{key} {value}" for key, value in lines[-1].items()), flush=True)
            with replacing(out / "ablations.csv", OURS) as fresh, fresh.open("w", newline="") as handle:
                writer = csv.DictWriter(handle, lines[0])
                writer.writeheader()
                writer.writerows(lines)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Ablations, description=__doc__))))
