"""The paper's training has no aids, and the settings of the code base that it modified (compare_gan)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_settings_are_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("imagenet_paper", ROOT / "recipes" / "imagenet_paper.py")
    assert spec is not None and spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "imagenet_paper", recipe)  # Dataclasses look their module up.
    spec.loader.exec_module(recipe)
    config = recipe.config(recipe.Recipe("folder:train", "folder:val"))
    assert config.deviations == ()
    assert (config.batch, config.d_steps, config.pictures) == (2_048, 2, 250_000 * 2 * 2_048)
    assert (config.learning_rate_g, config.learning_rate_d, config.betas) == (1e-4, 5e-4, (0.0, 0.999))
    assert (config.generator.size, config.generator.channels, config.generator.noise) == (64, 96, 120)
    assert (config.discriminator.kind, config.discriminator.channels) == ("paper", 96)
    assert (config.crop, config.flip) == ("random", True)
