"""Train the pair of classifiers on natural images: twins of EfficientNet-Lite0, standard and adversarial.

Run (two processes of one thread beat one of two on a 2-core machine; the same command resumes):

    python recipes/tiny_imagenet_twins.py --data DIR --objective fgsm --processes 2
    python recipes/tiny_imagenet_twins.py --data DIR --objective standard --processes 2

Both start from ImageNet weights and are fine-tuned on Tiny ImageNet's 200 classes, which are 200 of the 1,000 that
they keep as logits. One is trained on clean images, the other on images attacked within 4/255 by one step from a random
start. Images of 64 px are enlarged inside the network, so that attacks change pixels at 64 px. fitted:OUT/OBJECTIVE
opens each. Use the same number of processes for both, since batch norm computes its statistics within a process. The
published robust twin was trained by two processes (16 images each), the standard one by one process (32 images).

`DIR` holds Tiny ImageNet as parquet files in the Hugging Face layout, train-*.parquet and val.parquet, and
classes.json, a list of {"label": 0, "imagenet1k": 1} with the ImageNet class of each label.
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
    """Folder with Tiny ImageNet in the Hugging Face layout: train-*.parquet, val.parquet and classes.json."""
    objective: Literal["standard", "fgsm"]
    """Training objective: "standard" on clean images, "fgsm" on images attacked by one step from a random start."""
    out: Path = Path("runs/twins")
    """Folder of the results; the classifier is written to OUT/OBJECTIVE."""
    num_images: int = 80_000
    """Number of training images seen; give both twins the same."""
    processes: int = 1
    """Number of processes: one per GPU, or on a CPU with few cores one per core."""


def main(recipe: Recipe) -> None:
    """Train, or resume training, and print the accuracies."""
    given = config(recipe)
    for name, figures in launch(fit, given, recipe.processes).items():
        print(
            f"{name}: {figures['accuracy']:.1%} ({figures['low']:.1%} to {figures['high']:.1%}, n = {figures['n']:,})"
        )
    print(f"open it as {given.spec}")


def config(recipe: Recipe) -> FitConfig:
    """The fitting as a configuration."""
    return FitConfig(
        out=recipe.out / recipe.objective,
        images=f"parquet:{recipe.data}/train-*.parquet",
        test_images=f"parquet:{recipe.data}/val.parquet",
        start="packaged:efficientnet_lite0?size=96",
        labels=recipe.data / "classes.json",
        objective=recipe.objective,
        epsilon=4 / 255,
        num_images=recipe.num_images,
        batch=32,
        learning_rate_rest=5e-4,
        flip=True,
        size=64,
        ema_half_life=5_000,
        num_test_images=10_000,
        num_attacked_images=1_000,
        log_every=640,
        checkpoint_every=6_400,
    )


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Recipe, description=__doc__))))
