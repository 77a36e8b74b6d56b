"""An inverter of a real classifier: the ImageNet logits of EfficientNet-Lite0, natural pictures at 64 px.

Run (two processes of one thread beat one of two on a 2-core machine; the same command resumes):

    python recipes/tiny_imagenet_lite0.py --data DIR --processes 2

`DIR` holds Tiny ImageNet as parquet files in the Hugging Face layout, train-*.parquet and val.parquet.

Expected, by a run's own validation on 512 pictures: for `--classifier fitted:lite0_robust --pictures 25600`, 21 minutes
of one core without bf16 instructions, layout cosine 0.769, top-1 agreement 0.385 and top-5 0.738.

`efficientnet_lite0` itself, which comes with unlogit, was made by slower rates (this recipe as of commit 570dc75, by
`--features 'packaged:efficientnet_lite0?size=96'`): its first 109,232 pictures lead to layout 0.635, top-1 0.053 and
top-5 0.186; 38,400 more from there (`--start`) to 0.624, 0.063, 0.182 and clearer pictures; 76,800 more (`--start`,
`--reencoding 1`) to 0.632, 0.166 and 0.418; and 64,000 more by the same command to 0.642, 0.211 and 0.488.
docs/lab-notes.md tells the rest.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from unlogit.cli import guarded
from unlogit.networks import DiscriminatorConfig, GeneratorConfig
from unlogit.settings import Checked
from unlogit.training import TrainConfig
from unlogit.training.launch import launch


@dataclass(frozen=True)
class Recipe(Checked):
    """Where the pictures are, and how long to train."""

    data: Path
    out: Path = Path("runs/tiny_imagenet_lite0")
    pictures: int = 800_000
    classifier: str = "packaged:efficientnet_lite0?size=128"
    """Whose logits are inverted, as source:name; one of the twins is fitted:FOLDER/fgsm."""
    features: str = "fitted:lite0_robust"
    """The network on whose features the discriminator's heads sit; of the same architecture."""
    tap: str = "logits"
    """"label" trains the label-only floor."""
    start: str | None = None
    """A trained inverter to begin with, instead of random weights; of the same shape."""
    reencoding: float = 0.0
    """Weight of the re-encoding term, which the paper does not have: the classifier as a second teacher."""
    layout: float = 20.0
    """Weight of the layout loss."""
    spectral: float = 1.0
    """Weight of the spectral loss."""
    decay: float = 0.0
    """Share of the run over whose end the learning rates fall to zero."""
    processes: int = 1
    """One a GPU, or on a CPU with few cores one a core."""


def main(recipe: Recipe) -> None:
    """Train, or go on training."""
    print(launch(config(recipe), recipe.processes))


def config(recipe: Recipe) -> TrainConfig:
    """The run as a configuration."""
    return TrainConfig(
        images=f"parquet:{recipe.data}/train-*.parquet",
        held_out=f"parquet:{recipe.data}/val.parquet",
        classifier=recipe.classifier,
        out=recipe.out,
        tap=recipe.tap,
        generator=GeneratorConfig(
            size=64,
            channels=16,
            noise=60,
            embedding=256,
            hidden=128,
            # Noise alone in the first layer, as in the paper: what enters there decides the geometry.
            condition_first=False,
            attention=None,
            spectral_norm=False,
        ),
        discriminator=DiscriminatorConfig(
            kind="projected",
            network=recipe.features,
            maps=("blocks.1", "blocks.2", "blocks.4", "blocks.6", "penultimate"),
            widths=(64, 64, 128, 128),
            head_spectral_norm=False,
        ),
        pictures=recipe.pictures,
        batch=16,
        d_steps=1,
        learning_rate_g=2e-4 if recipe.start else 4e-4,
        # Slower, it has nothing to tell a generator that is trained.
        learning_rate_d=8e-4,
        betas=(0.0, 0.99),
        ema_half_life=20_000,
        shared_fakes=True,
        translation=True,
        start=recipe.start,
        discriminator_first=9_600 if recipe.start else 0,
        layout_weight=recipe.layout,
        spectral_weight=recipe.spectral,
        decay=recipe.decay,
        reencoding_weight=recipe.reencoding,
        log_every=1_600,
        checkpoint_every=3_200,
        validate_every=12_800,
        cache=recipe.out.parent / "cache",
    )


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Recipe, description=__doc__))))
