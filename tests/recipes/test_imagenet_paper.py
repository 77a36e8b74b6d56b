"""The paper's training: each setting is that of its source, the paper or compare_gan's BigGAN for ImageNet."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from unlogit.methods.biggan.discriminator import Discriminator
from unlogit.methods.biggan.generator import Generator
from unlogit.training import TrainConfig

ROOT = Path(__file__).parents[2]

PAPER: dict[str, Any] = {
    "layer": "logits",
    "method.NAME": "biggan",
    "method.adversarial": "hinge",
    "method.generator.size": 64,
    "method.generator.noise": 120,
    "method.generator.condition_first": False,
    "method.generator.map": None,
    "method.discriminator.kind": "paper",
    "method.discriminator.scale_projection": False,
    "method.layout_weight": 0.0,
    "method.spectral_weight": 0.0,
    "method.reencoding_weight": 0.0,
    "method.warm_start": 0,
}
"""Teterwak et al. 2021, sections 3 and 4: logits, one hinge loss alone, 120 values of noise, 64 px."""
COMPARE_GAN: dict[str, Any] = {
    "batch": 2_048,  # options.batch_size
    "method.d_steps": 2,  # options.disc_iters
    "num_images": 250_000 * 2 * 2_048,  # options.training_steps
    "method.learning_rate_g": 1e-4,  # ModularGAN.g_lr
    "method.learning_rate_d": 5e-4,  # ModularGAN.d_lr
    "method.betas": (0.0, 0.999),  # AdamOptimizer
    "method.gradient_penalty": 0.0,  # penalty.fn = @no_penalty
    "method.r1": 0.0,
    "decay": 0.0,
    "method.translation": False,
    "method.shared_fakes": False,  # New noise for the generator: experimental_joint_gen_for_disc is off.
    "crop": "random",  # train_imagenet_transform.crop_method = "distorted"
    "flip": False,
    "method.generator.channels": 96,  # Generator.ch
    "method.generator.embedding": 128,  # Generator.embed_y_dim
    "method.generator.hidden": 32,  # self_modulated_batch_norm.num_hidden
    "method.generator.attention": 64,  # Generator.blocks_with_attention = "B4"
    "method.generator.spectral_norm": True,  # G.spectral_norm
    "method.discriminator.channels": 96,  # Discriminator.ch
    "method.discriminator.attention": 32,  # Discriminator.blocks_with_attention = "B1"
    "ema_start": 163_840_000,  # ModularGAN.ema_start_step = 40000
}


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    spec = importlib.util.spec_from_file_location("imagenet_paper", ROOT / "recipes" / "imagenet_paper.py")
    assert spec is not None and spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "imagenet_paper", recipe)  # Dataclasses look their module up.
    spec.loader.exec_module(recipe)
    found: TrainConfig = recipe.config(recipe.Recipe("folder:train", "folder:val"))
    return found


@pytest.mark.parametrize(("setting", "value"), [*PAPER.items(), *COMPARE_GAN.items()])
def test_a_setting_is_that_of_its_source(config: TrainConfig, setting: str, value: object) -> None:
    found: Any = config
    for name in setting.split("."):
        found = getattr(found, name)
    assert found == value


def test_the_average_decays_as_by_0_9999_a_generator_step(config: TrainConfig) -> None:
    assert 0.5 ** (config.batch * config.method.d_steps / config.ema_half_life) == pytest.approx(0.9999, abs=1e-12)
    assert config.ema_half_life == pytest.approx(28.4e6, rel=1e-3)


def test_nothing_is_added_to_the_paper_s_loss_and_networks(config: TrainConfig) -> None:
    assert config.deviations == ()


def test_attention_follows_the_blocks_that_compare_gan_names(config: TrainConfig) -> None:
    with torch.device("meta"):
        generator = Generator(1000, config.method.generator)
        discriminator = Discriminator(1000, config.size, config.method.discriminator)
    # Counted from 0: B4 of the generator and B1 of the discriminator.
    assert (list(generator.attention), list(discriminator.attention)) == (["3"], ["0"])
