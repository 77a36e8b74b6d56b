"""An inverter of a real classifier: the ImageNet logits of EfficientNet-Lite0, natural images at 64 px.

Run (two processes of one thread beat one of two on a 2-core machine; the same command resumes):

    python recipes/tiny_imagenet_lite0.py --data DIR --processes 2

`DIR` holds Tiny ImageNet as parquet files in the Hugging Face layout, train-*.parquet and val.parquet. There are three
splits: the first 98,000 rows of train-*.parquet train, the 2,000 after them are for validation, by which "best" and
settings are chosen, and val.parquet is for reported numbers alone. The twins were fitted on all of train-*.parquet.

The inverters that come with unlogit were made in stages, each begun by `--start` from the last; RESULTS.md has the
commands and the curves. Expected of `--classifier fitted:lite0_robust --layout 20 --pixel-channels 0`, by a run's own
validation on 512 images: top-1 agreement 0.28, 0.39, 0.42 and 0.43 and layout cosine 0.70, 0.75, 0.76 and 0.77 after
12,800, 25,600, 38,400 and 51,200 images, 40 minutes of one busy core with bf16 instructions.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from unlogit.cli import guarded
from unlogit.methods.biggan.presets import preset
from unlogit.settings import Checked, Count
from unlogit.training import TrainConfig
from unlogit.training.launch import launch

FEATURES = "packaged:efficientnet_lite2?size=64"
"""Network whose features, beside pixels and layout, measure the bits of natural images in every table; none of these
inverters is trained with it."""


@dataclass(frozen=True)
class Recipe(Checked):
    """Where the images are, and how long to train."""

    data: Path
    training: Count = 98_000
    """Rows of train-*.parquet to train on; those after them are for validation."""
    out: Path = Path("runs/tiny_imagenet_lite0")
    num_images: int = 800_000
    classifier: str = "packaged:efficientnet_lite0?size=128"
    """Whose logits are inverted, as source:name; one of the twins is fitted:FOLDER/fgsm."""
    features: str = "fitted:lite0_robust"
    """The network on whose features the discriminator's heads sit; of the same architecture."""
    second_features: str | None = None
    """A second network with heads of its own, for the later part of a long run; None for none."""
    layer: str = "logits"
    """"label" trains the label-only baseline."""
    start: str | None = None
    """A trained inverter to begin with, and the discriminator saved beside it; of the same shape or narrower."""
    channels: Count = 16
    """Width of the generator; a narrower one that is begun with is widened without a change of its images."""
    reencoding: float = 0.0
    """Weight of the re-encoding term, which the paper does not have: the classifier as a second teacher."""
    layout: float = 30.0
    """Weight of the layout loss."""
    pixel_channels: int = 24
    """Width of the discriminator's branch on pixels; 0 for none."""
    spectral: float = 1.0
    """Weight of the spectral loss."""
    decay: float = 0.0
    """Share of the run over whose end the learning rates fall to zero."""
    processes: int = 1
    """One a GPU, or on a CPU with few cores one a core."""


def main(recipe: Recipe) -> None:
    """Train, or go on training."""
    print(launch(config(recipe), recipe.processes))


def training_images(data: Path, training: int) -> str:
    """Return the images that inverters are trained on, as source:name."""
    return f"parquet:{data}/train-*.parquet?first={training}"


def config(recipe: Recipe) -> TrainConfig:
    """Return the run's configuration: preset cpu-64, with what the recipe asks for."""
    settings = preset("cpu-64")
    method = replace(
        settings.method,
        generator=replace(settings.method.generator, channels=recipe.channels),
        discriminator=replace(
            settings.method.discriminator,
            network=recipe.features,
            second_network=recipe.second_features,
            pixel_channels=recipe.pixel_channels,
        ),
        layout_weight=recipe.layout,
        spectral_weight=recipe.spectral,
        reencoding_weight=recipe.reencoding,
    )
    run = TrainConfig(
        images=training_images(recipe.data, recipe.training),
        held_out=f"parquet:{recipe.data}/train-*.parquet?skip={recipe.training}",
        classifier=recipe.classifier,
        out=recipe.out,
        layer=recipe.layer,
        method=method,
        **settings.run,
    )
    return replace(
        run, num_images=recipe.num_images, start=recipe.start, decay=recipe.decay, cache=recipe.out.parent / "cache"
    )


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Recipe, description=__doc__))))
