"""Train an inverter of the ImageNet logits of EfficientNet-Lite0 on natural images at 64 px.

Run (two processes of one thread beat one of two on a 2-core machine; the same command resumes):

    python recipes/tiny_imagenet_lite0.py --data DIR --processes 2

`DIR` holds Tiny ImageNet as parquet files in the Hugging Face layout, train-*.parquet and val.parquet. There are three
splits: the first 98,000 rows of train-*.parquet are for training, the 2,000 after them for validation, by which "best"
and settings are chosen, and val.parquet is for reported numbers only. The twins were trained on all of train-*.parquet.

The packaged inverters were trained in stages, each of which started from the previous one by `--start`; RESULTS.md has
the commands and the curves. Expected for `--classifier fitted:lite0_robust --layout 20 --pixel-channels 0`, in the
run's validation on 512 images: top-1 agreement 0.28, 0.39, 0.42 and 0.43 and layout cosine 0.70, 0.75, 0.76 and 0.77
after 12,800, 25,600, 38,400 and 51,200 images, which take 40 minutes on one busy core with bf16 instructions.
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
    """Options: images, classifier, losses, and length of training."""

    data: Path
    """Folder with Tiny ImageNet in the Hugging Face layout: train-*.parquet and val.parquet."""
    training: Count = 98_000
    """Number of rows of train-*.parquet to train on; the rows after them are for validation."""
    out: Path = Path("runs/tiny_imagenet_lite0")
    """Folder of the run."""
    num_images: int = 800_000
    """Length of the run in training images seen."""
    classifier: str = "packaged:efficientnet_lite0?size=128"
    """Classifier to invert, as source:name; a twin of tiny_imagenet_twins.py is fitted:FOLDER/fgsm."""
    features: str = "fitted:lite0_robust"
    """Frozen network of the discriminator, as source:name; its architecture must be EfficientNet-Lite0."""
    second_features: str | None = None
    """Second frozen network of the discriminator, with its own heads, for late in a long run. Default: none."""
    layer: str = "logits"
    """Layer to invert: "logits", or "label" for the label-only baseline."""
    start: str | None = None
    """Trained inverter, of the same shape or narrower, that initialises generator and discriminator. Default: none."""
    channels: Count = 16
    """Width unit of the generator. A narrower --start is widened; its images do not change."""
    reencoding: float = 0.0
    """Weight of the re-encoding loss, which trains on the inverted classifier; not in the paper."""
    layout: float = 30.0
    """Weight of the layout loss."""
    pixel_channels: int = 24
    """Width of the discriminator's branch on pixels; 0 for none."""
    spectral: float = 1.0
    """Weight of the spectral loss."""
    decay: float = 0.0
    """Final share of the run, 0 to 1, over which the learning rates fall linearly to zero."""
    seed: int = 0
    """Random seed of weights, noise and order of the images; a stage that begins with --start needs another one."""
    processes: int = 1
    """Number of processes: one per GPU, or on a CPU with few cores one per core."""


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
        run,
        num_images=recipe.num_images,
        start=recipe.start,
        decay=recipe.decay,
        seed=recipe.seed,
        cache=recipe.out.parent / "cache",
    )


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Recipe, description=__doc__))))
