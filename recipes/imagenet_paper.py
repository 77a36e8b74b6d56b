"""Train as in the paper: ImageNet at 64 px, the adversarial loss alone, the paper's networks at full width.

Run, one process per GPU (several machines: docs/training.md); the same command resumes:

    python recipes/imagenet_paper.py --images 'webdataset:imagenet-train-{000000..001023}.tar' \
        --held-out folder:val --processes 8

The paper states the loss, the conditioning by two-layer MLPs, 120 values of noise and 64 px. It modified compare_gan;
its supplement with the remaining settings was not available. They are compare_gan's for ImageNet at 128 px
(`biggan_imagenet128.gin` and the defaults of its modules; it has no configuration for 64 px). `config` names the source
of each value. Remaining deviations:

- The classifier. The paper's ResNet-152-V2 weights are not in timm. `resnetv2_152x2_bit` is twice as wide, has group
  norm and standardised weights instead of batch norm, was pretrained on ImageNet-21k, and reads 448 px. Images of 64 px
  are enlarged to that. Inception-V3 is the paper's own architecture: `--classifier timm:inception_v3.tf_in1k`. A robust
  ResNet is `madry:FILE`, trained by PGD and not by the paper's local linearisation.
- Logits are standardised by constants before they enter the networks (docs/training.md).
- The discriminator reads pixels in [-1, 1], compare_gan's in [0, 1].
- The discriminator's projection begins orthogonal, compare_gan's by Glorot.
- The spectral norm leaves out the generator's conditioning.

This recipe has never been run; docs/training.md estimates its cost.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from unlogit.cli import guarded
from unlogit.methods.biggan.presets import preset
from unlogit.settings import Checked
from unlogit.training import TrainConfig
from unlogit.training.launch import launch


@dataclass(frozen=True)
class Recipe(Checked):
    """Options: images, classifier and processes."""

    images: str
    """Training images of ImageNet, as source:name."""
    held_out: str
    """Validation images of ImageNet, as source:name."""
    classifier: str = "timm:resnetv2_152x2_bit.goog_in21k_ft_in1k"
    """Frozen classifier to invert, as source:name; the text above lists how the default differs from the paper's."""
    out: Path = Path("runs/imagenet_paper")
    """Folder of the run."""
    micro_batch: int = 0
    """Number of images that the discriminator processes at once, per process, to save memory; 0 is all of them."""
    processes: int = 1
    """Number of processes: one per GPU."""


def main(recipe: Recipe) -> None:
    """Train, or resume the training."""
    print(launch(config(recipe), recipe.processes))


def config(recipe: Recipe) -> TrainConfig:
    """Return the run's configuration: preset paper-64, where each setting stands with its source."""
    paper = preset("paper-64")
    return TrainConfig(
        images=recipe.images,
        held_out=recipe.held_out,
        classifier=recipe.classifier,
        out=recipe.out,
        layer="logits",  # The paper, section 3.
        method=replace(paper.method, micro_batch=recipe.micro_batch),
        **paper.run,
    )


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Recipe, description=__doc__))))
