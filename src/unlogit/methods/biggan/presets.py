"""Named settings for `unlogit train --preset` and the recipes: settings tuned in trials, and the paper's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from unlogit.errors import unknown
from unlogit.methods.biggan.config import BigGANConfig, DiscriminatorConfig, GeneratorConfig

FEATURES = "fitted:lite0_robust"
"""Frozen network of the projected discriminator. It is packaged, so that it needs no extra and no download,
and the features of a robust ImageNet classifier suit natural images of any kind. Where the inverted classifier is small
and its images are not natural ones, its own features or those of a robust version are better (recipes/demo.py)."""
PAPER_STEPS = 250_000
"""Generator steps (`options.training_steps`)."""
EMA_DECAY, EMA_START_STEP = 0.9999, 40_000
"""Averaging of the generator, per generator step (defaults of `ModularGAN`)."""


@dataclass(frozen=True)
class Preset:
    """Values of options, which explicit options override.

    Attributes:
        summary: purpose and requirements in a few words.
        method: options of the method.
        run: options of the run, by field of `TrainConfig`.
    """

    summary: str
    method: BigGANConfig
    run: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of `TrainConfig`."""
        return {"method": self.method, **self.run}


def preset(name: str) -> Preset:
    """Return the preset of that name; raise `UnlogitError` for an unknown one."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]


_SCENES = BigGANConfig(
    generator=GeneratorConfig(size=32, channels=12, noise=32, attention=None, spectral_norm=False),
    discriminator=DiscriminatorConfig(
        kind="projected",
        network=f"{FEATURES}?size=64",
        maps=("pixels", "blocks.1", "blocks.2", "blocks.4", "penultimate"),
        widths=(32, 32, 64, 64),
    ),
    d_steps=1,
    learning_rate_g=8e-4,
    learning_rate_d=4e-4,
    betas=(0.0, 0.99),
    shared_fakes=True,
    layout_weight=5.0,
)
_NATURAL = BigGANConfig(
    generator=GeneratorConfig(
        size=64,
        channels=16,
        noise=60,
        embedding=256,
        hidden=128,
        # Noise alone in the first layer, as in the paper: the input of that layer determines the geometry.
        condition_first=False,
        attention=None,
        spectral_norm=False,
    ),
    discriminator=DiscriminatorConfig(
        kind="projected",
        network=FEATURES,
        maps=("blocks.1", "blocks.2", "blocks.4", "blocks.6", "penultimate"),
        widths=(64, 64, 128, 128),
        head_spectral_norm=False,
        pixel_channels=24,
        pixel_weight=2.0,
    ),
    d_steps=1,
    learning_rate_g=4e-4,
    learning_rate_d=8e-4,
    betas=(0.0, 0.99),
    shared_fakes=True,
    translation=True,
    layout_weight=30.0,
    spectral_weight=1.0,
    r1=1.0,
)
_PAPER = BigGANConfig(
    generator=GeneratorConfig(
        size=64,  # The paper, section 4.
        channels=96,  # resnet_biggan.Generator
        noise=120,  # The paper, section 3; options.z_dim.
        embedding=128,  # embed_y, embed_y_dim
        hidden=32,  # Two-layer MLPs: equation 3 of the paper; self_modulated_batch_norm.num_hidden.
        condition_first=False,  # The paper, section 3.
        attention=64,  # blocks_with_attention "B4", whose output has 64 px.
        spectral_norm=True,  # G.spectral_norm
    ),
    discriminator=DiscriminatorConfig(
        kind="paper",
        channels=96,  # resnet_biggan.Discriminator
        attention=32,  # blocks_with_attention "B1", whose output has 32 px.
    ),
    d_steps=2,  # options.disc_iters
    learning_rate_g=1e-4,  # ModularGAN.g_lr
    learning_rate_d=5e-4,  # ModularGAN.d_lr
    betas=(0.0, 0.999),  # AdamOptimizer.beta1, beta2
)
_PAPER_BATCH = 2_048  # options.batch_size
_PAPER_RUN: Mapping[str, Any] = {
    "num_images": PAPER_STEPS * _PAPER.d_steps * _PAPER_BATCH,
    "batch": _PAPER_BATCH,
    "crop": "random",  # Square crops of area 0.5 to 1: train_imagenet_transform "distorted".
    "flip": False,  # Nothing in compare_gan mirrors ImageNet.
    "ema_half_life": math.log(0.5) / math.log(EMA_DECAY) * _PAPER.d_steps * _PAPER_BATCH,
    "ema_start": EMA_START_STEP * _PAPER.d_steps * _PAPER_BATCH,
}

PRESETS = {
    "cpu-32": Preset(
        "32 px on a CPU, as in recipes/demo.py",
        _SCENES,
        {
            "num_images": 18_000,
            "batch": 16,
            "ema_half_life": 10_000,
            "log_every": 800,
            "checkpoint_every": 16_000,
            "validate_every": 16_000,
            "num_validation_images": 256,
        },
    ),
    "cpu-64": Preset(
        "64 px natural images on a CPU, as in recipes/tiny_imagenet_lite0.py",
        _NATURAL,
        {
            "num_images": 200_000,
            "batch": 16,
            "ema_half_life": 20_000,
            "log_every": 1_600,
            "checkpoint_every": 3_200,
            "validate_every": 12_800,
        },
    ),
    "gpu-64": Preset(
        "64 px natural images on one GPU, cpu-64 with a wider generator and a larger batch (no full run yet)",
        replace(_NATURAL, generator=replace(_NATURAL.generator, channels=48)),
        {
            "num_images": 4_000_000,
            "batch": 96,
            "ema_half_life": 100_000,
            "log_every": 9_600,
            "checkpoint_every": 96_000,
            "validate_every": 192_000,
        },
    ),
    "paper-64": Preset("the paper at 64 px, with batch 2048, for several GPUs or --micro-batch", _PAPER, _PAPER_RUN),
    "paper-128": Preset(
        "the paper's networks and training at 128 px",
        replace(
            _PAPER,
            generator=replace(_PAPER.generator, size=128),
            # The first block's output, as at 64 px.
            discriminator=replace(_PAPER.discriminator, attention=64),
        ),
        _PAPER_RUN,
    ),
}
"""Presets by name; the feature network of `cpu-32` and `cpu-64` can differ from the recipe's."""
