"""An inverter by a recipe that favours no classifier, for comparisons of classifiers."""

from __future__ import annotations

from pathlib import Path

from unlogit.methods.biggan import BigGANConfig, DiscriminatorConfig, GeneratorConfig
from unlogit.training import TrainConfig

FEATURES = "packaged:efficientnet_lite0?size=64"
"""Network whose features the discriminator has."""


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
