"""What spares time in the recipes' own training steps: `python benchmarks/frozen.py`.

Discriminator and generator steps of the same training, on the same images, by turns: with the representations read
from the cache and computed anew, with the frozen networks' batch norms folded into convolutions and as they come, with
the faster gradient of their strided depthwise convolutions and as they come, and in fp32.
Medians, and the medians of the rounds' ratios to the first; only these are to be compared.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch
import tyro
from _machine import interleaved, machine, ratio

from unlogit.classifier_training import FitConfig, fit
from unlogit.classifiers import Classifier, _base
from unlogit.methods.biggan import BigGANConfig, DiscriminatorConfig, GeneratorConfig
from unlogit.representation import RepresentationCache
from unlogit.runtime.device import pick_device
from unlogit.training import TrainConfig
from unlogit.training.loop import Training

IMAGES, HELD_OUT = "scenes:?count=1024&size={}", "scenes:test?count=64&size={}"


@dataclass(frozen=True)
class Bench:
    """How long to measure."""

    rounds: int = 8
    """Steps of either kind; one more at the beginning is not counted."""
    batch: int = 16
    """Images a step."""


def small(folder: Path, bench: Bench) -> TrainConfig:
    """As in recipes/demo.py: 32 px, a small classifier that also judges."""
    made = FitConfig(
        folder / "classifier",
        IMAGES.format(32),
        HELD_OUT.format(32),
        num_images=320,
        num_test_images=64,
        num_attacked_images=1,
    )
    fit(made)
    maps, widths = ("pixels", "stages.0", "stages.1", "stages.2", "penultimate"), (32, 32, 64, 64)
    return TrainConfig(
        images=IMAGES.format(32),
        held_out=HELD_OUT.format(32),
        classifier=made.spec,
        out=folder / "run",
        method=BigGANConfig(
            generator=GeneratorConfig(size=32, channels=12, noise=32, attention=None, spectral_norm=False),
            discriminator=DiscriminatorConfig(kind="projected", network=made.spec, maps=maps, widths=widths),
            d_steps=1,
            shared_fakes=True,
        ),
        batch=bench.batch,
        flip=False,
        cache=folder / "cache",
    )


def lite0(folder: Path, bench: Bench) -> TrainConfig:
    """As in recipes/tiny_imagenet_lite0.py: 64 px, an ImageNet classifier at 128 px, judged on its features at 96."""
    judge = "packaged:efficientnet_lite0?size=96"
    maps, widths = ("blocks.1", "blocks.2", "blocks.4", "blocks.6", "penultimate"), (64, 64, 128, 128)
    return TrainConfig(
        images=IMAGES.format(64),
        held_out=HELD_OUT.format(64),
        classifier="packaged:efficientnet_lite0?size=128",
        out=folder / "run",
        method=BigGANConfig(
            generator=GeneratorConfig(size=64, channels=16, noise=60, attention=None, spectral_norm=False),
            discriminator=DiscriminatorConfig(kind="projected", network=judge, maps=maps, widths=widths),
            d_steps=1,
            shared_fakes=True,
        ),
        batch=bench.batch,
        flip=False,
        cache=folder / "cache",
    )


def row(name: str, config: TrainConfig, bench: Bench) -> str:
    """One line of the table."""
    training = Training(config, pick_device())
    with patch.object(Classifier, "fused", lambda self, kept=(): self):
        unfused = Training(replace(config, out=config.out.with_name("unfused")), pick_device())
    with patch.object(_base, "spare_slow_gradients"):
        strided = Training(replace(config, out=config.out.with_name("strided")), pick_device())
    full = Training(replace(config, out=config.out.with_name("fp32"), precision="fp32"), pick_device())
    feed = training.data
    live = RepresentationCache(None, feed.representation, feed.loader.source, feed.loader.view)

    def step(training: Training, cache: RepresentationCache) -> None:
        # The same images each time: their rows are there, as they are in every epoch but the first.
        training.method.images, training.data.cache = 0, cache
        training.method.step()

    times = interleaved(
        {
            "cached": partial(step, training, feed.cache),
            "live": partial(step, training, live),
            "classifier": partial(live, feed.loader.batch(0)),
            "unfused": partial(step, unfused, unfused.data.cache),
            "strided": partial(step, strided, strided.data.cache),
            "fp32": partial(step, full, full.data.cache),
        },
        bench.rounds,
    )
    milliseconds = " | ".join(f"{1000 * median(spent) / bench.batch:.2f}" for spent in times.values())
    ratios = " | ".join(
        f"{ratio(times['cached'], times[other]):.2f}" for other in ("live", "unfused", "strided", "fp32")
    )
    return f"| {name} | {milliseconds} | {ratios} |"


def main(bench: Bench) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"{machine()}, batch {bench.batch}; milliseconds an image\n")
    measured = "cached | live | the classifier alone | norms not folded | strided depthwise as they come | in fp32"
    print(f"| training | {measured} | live | not folded | strided as they come | fp32 |")
    print("|" + "---|" * 11)
    for name, made in (("scenes, small classifier, 32 px", small), ("scenes, EfficientNet-Lite0, 64 px", lite0)):
        with tempfile.TemporaryDirectory() as folder:
            print(row(name, made(Path(folder), bench), bench), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Bench, description=__doc__))
