"""The pair on natural images: twins of EfficientNet-Lite0 that differ in what they were fitted to.

Run (two processes of one thread beat one of two on a 2-core machine; the same command resumes):

    python recipes/tiny_imagenet_twins.py --data DIR --objective fgsm --processes 2
    python recipes/tiny_imagenet_twins.py --data DIR --objective standard --processes 2

Both start from ImageNet weights and are fine-tuned on Tiny ImageNet's 200 classes, which are 200 of the 1,000 that
they keep as logits; one on images as they are, one on images that are attacked within 4/255 by one step from a
random start. Images of 64 px are enlarged inside the network, so that attacks live in their own pixels. Each is then
opened as fitted:OUT/OBJECTIVE. Give both the same number of processes, since batch norm takes its statistics within a
process: the published robust twin ran as two (16 images each), the standard one as one (32).

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
    """Where the images are, which twin, and how long it is trained."""

    data: Path
    objective: Literal["standard", "fgsm"]
    out: Path = Path("runs/twins")
    """The twin's folder is OUT/OBJECTIVE."""
    num_images: int = 80_000
    """Training images seen; both twins need the same."""
    processes: int = 1
    """One a GPU, or on a CPU with few cores one a core."""


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
