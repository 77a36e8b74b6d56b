"""The paper's training as it stands: ImageNet at 64 px, one loss alone, the paper's networks at full width.

Run, one process a GPU (several machines: docs/training.md); the same command resumes:

    python recipes/imagenet_paper.py --images 'webdataset:imagenet-train-{000000..001023}.tar' \
        --held-out folder:val --processes 8

Settings that the paper does not give are those of the code base that it modified (compare_gan), among them 250,000
steps of the generator, each after two of the discriminator, and a batch of 2,048. Never run here: docs/training.md says
what it would cost.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from unlogit.cli import guarded
from unlogit.methods.biggan import BigGANConfig
from unlogit.settings import Checked
from unlogit.training import TrainConfig
from unlogit.training.launch import launch


@dataclass(frozen=True)
class Recipe(Checked):
    """Where the pictures are, and whose logits."""

    images: str
    """ImageNet's training pictures as source:name."""
    held_out: str
    """Its validation pictures, likewise."""
    classifier: str = "timm:resnetv2_152x2_bit.goog_in21k_ft_in1k"
    """The nearest to the paper's ResNet-152-V2 whose weights timm has: twice as wide. A robust one is madry:FILE."""
    out: Path = Path("runs/imagenet_paper")
    micro_batch: int = 0
    """Pictures that the discriminator holds at once, where a process's share of the batch does not fit its device."""
    processes: int = 1
    """One a GPU."""


def main(recipe: Recipe) -> None:
    """Train, or go on training."""
    print(launch(config(recipe), recipe.processes))


def config(recipe: Recipe) -> TrainConfig:
    """The run as a configuration: what is not said here is a default, and the defaults are the paper's."""
    batch, d_steps = 2_048, 2
    steps = 250_000
    return TrainConfig(
        images=recipe.images,
        held_out=recipe.held_out,
        classifier=recipe.classifier,
        out=recipe.out,
        pictures=steps * d_steps * batch,
        batch=batch,
        method=BigGANConfig(d_steps=d_steps, micro_batch=recipe.micro_batch),
        crop="random",
    )


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Recipe, description=__doc__))))
