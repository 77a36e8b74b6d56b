"""An inverter by a recipe that favours no classifier, for comparisons of classifiers, and its measures."""

from __future__ import annotations

from pathlib import Path

import torch
from _cells import perceptual_distance

from unlogit.analyses import Evidence
from unlogit.classifiers import Classifier
from unlogit.errors import UnlogitError
from unlogit.images import open_images
from unlogit.methods import open_inverter
from unlogit.methods.biggan import BigGANConfig, DiscriminatorConfig, GeneratorConfig
from unlogit.metrics.pixel import layout, layout_cosine
from unlogit.metrics.recognition import part_in_training
from unlogit.metrics.reencoding import agreement, logit_cosine
from unlogit.training import TrainConfig

FEATURES = "packaged:efficientnet_lite0?size=64"
"""Network whose features the discriminator has."""
SEED = 0
"""Random seed for the noise of the measured reconstructions."""


def inverter_config(images: str, held_out: str, classifier: str, out: Path, cache: Path, **sizes: int) -> TrainConfig:
    """Return the training of an inverter by a recipe that favours no classifier.

    Args:
        images: training images as source:name.
        held_out: images of its validation, likewise.
        classifier: whose logits are inverted, as source:name.
        out: the run's folder.
        cache: folder of the cache.
        **sizes: size in pixels, channels, images and seed.
    """
    return TrainConfig(
        images=images,
        held_out=held_out,
        classifier=classifier,
        out=out,
        method=BigGANConfig(
            generator=GeneratorConfig(
                size=sizes["size"],
                channels=sizes["channels"],
                noise=60 if sizes["size"] == 64 else 32,
                embedding=64,
                attention=None,
                spectral_norm=False,
            ),
            discriminator=DiscriminatorConfig(
                kind="projected",
                network=FEATURES,
                maps=("pixels", "blocks.1", "blocks.2", "blocks.4", "blocks.6", "penultimate"),
                widths=(32, 32, 64, 64, 64),
                head_spectral_norm=False,
            ),
            d_steps=1,
            learning_rate_g=4e-4,
            learning_rate_d=4e-4,
            betas=(0.0, 0.99),
            shared_fakes=True,
            translation=True,
            layout_weight=10.0,
        ),
        num_images=sizes["num_images"],
        batch=16,
        flip=False,
        ema_half_life=10_000,
        log_every=1_600,
        checkpoint_every=8_000,
        validate_every=sizes["num_images"],
        num_validation_images=256,
        recognition=(),
        seed=sizes["seed"],
        cache=cache,
    )


def measure(folder: Path, held_out: str, count: int, judge: Classifier) -> dict[str, float | None]:
    """Return the measures of a trained inverter, each a mean over held-out images.

    Args:
        folder: of the inverter.
        held_out: images as source:name.
        count: number of images at most.
        judge: classifier that checks whether the class is kept.

    Raises:
        UnlogitError: the judge takes part in the training.
    """
    name = "inverter"
    inverter = open_inverter(str(folder))
    if part := part_in_training(judge, inverter.took_part()):
        raise UnlogitError(f"judge '{judge.spec}' takes part in this training as '{part}': give another --judge")
    evidence = Evidence(open_images(held_out), {name: inverter}, limit=count, seed=SEED)
    made = evidence.reconstructed(name)
    pairs = list(zip(evidence.originals.chunks(), made.images.chunks(), strict=True))
    centre = torch.cat([layout(original) for original, _ in pairs]).mean(0)
    mean = made.logits.mean(0)
    with torch.no_grad():
        judged = torch.cat([agreement(judge(x), judge(y)) for x, y in pairs])
    return {
        "layout cosine": float(torch.cat([layout_cosine(x, y, centre) for x, y in pairs]).mean()),
        "same class for the judge": float(judged.float().mean()),
        "ST-LPIPS": perceptual_distance(pairs),
        "same class": float(agreement(made.logits, made.reencoded).float().mean()),
        "logit cosine": float(logit_cosine(made.logits - mean, made.reencoded - mean).mean()),
    }
