"""Train a second pair of classifiers, from scratch: a ResNet on CIFAR-10 at 32 px, standard and adversarial.

Run (two processes of one thread beat one of two on a 2-core machine; the same command resumes):

    python recipes/cifar10_twins.py --data DIR --objective fgsm --processes 2
    python recipes/cifar10_twins.py --data DIR --objective standard --processes 2

Both are the built-in pre-activation ResNet, with the same seed, images and schedule. One is trained on clean images,
the other on images attacked within 8/255 by one step from a random start. small:OUT/OBJECTIVE opens each.

`DIR` holds CIFAR-10 as parquet files in the Hugging Face layout, train.parquet and test.parquet.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from unlogit.classifier_training import FitConfig, fit
from unlogit.cli import guarded
from unlogit.runtime.launch import launch
from unlogit.settings import Checked


@dataclass(frozen=True)
class Recipe(Checked):
    """Options: images, objective, and length of training."""

    data: Path
    """Folder with CIFAR-10 in the Hugging Face layout: train.parquet and test.parquet."""
    objective: Literal["standard", "fgsm"]
    """Training objective: "standard" on clean images, "fgsm" on images attacked by one step from a random start."""
    out: Path = Path("runs/cifar10")
    """Folder of the results; the classifier is written to OUT/OBJECTIVE."""
    num_images: int = 1_000_000
    """Number of training images seen; give both twins the same."""
    processes: int = 1
    """Number of processes: one per GPU, or on a CPU with few cores one per core."""


def main(recipe: Recipe) -> None:
    """Train, or resume training, and print the accuracies."""
    given = config(recipe)
    for name, figures in launch(fit, given, recipe.processes).items():
        low, high = figures["low"], figures["high"]
        print(f"{name}: {figures['accuracy']:.1%} ({low:.1%} to {high:.1%}, n = {figures['n']:,})")
    print(f"open it as {given.spec}")


def config(recipe: Recipe) -> FitConfig:
    """The fitting as a configuration."""
    return FitConfig(
        out=recipe.out / recipe.objective,
        images=f"parquet:{recipe.data}/train.parquet",
        test_images=f"parquet:{recipe.data}/test.parquet",
        objective=recipe.objective,
        epsilon=8 / 255,
        num_images=recipe.num_images,
        batch=64,
        flip=True,
        crop="shift",
        size=32,
        widths=(64, 128, 256),
        ema_half_life=20_000,
        num_test_images=10_000,
        num_attacked_images=2_000,
        checkpoint_every=20_000,
    )


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Recipe, description=__doc__))))
