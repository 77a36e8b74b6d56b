"""A training of seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from unlogit.methods.biggan import BigGANConfig, DiscriminatorConfig, GeneratorConfig
from unlogit.training import TrainConfig


@pytest.fixture
def tiny(tiny_classifier_spec: str, tmp_path: Path) -> Callable[..., TrainConfig]:
    """A configuration of a run of a few steps; arguments replace its fields, or those of the paper's method."""
    base = TrainConfig(
        images="scenes:count=48",
        held_out="scenes:test,count=20",
        classifier=tiny_classifier_spec,
        out=tmp_path / "run",
        method=BigGANConfig(
            generator=GeneratorConfig(size=32, channels=4, noise=16, attention=None),
            discriminator=DiscriminatorConfig(channels=4, attention=None),
        ),
        pictures=48,
        batch=8,
        log_every=8,
        checkpoint_every=16,
        validate_every=32,
        validation_pictures=16,
        cache=tmp_path / "cache",
    )

    def make(**changes: Any) -> TrainConfig:
        own = {field.name for field in fields(BigGANConfig)}
        method = replace(base.method, **{name: value for name, value in changes.items() if name in own})
        return replace(base, **{"method": method} | {name: v for name, v in changes.items() if name not in own})

    return make


@pytest.fixture
def projected(tiny_classifier_spec: str) -> DiscriminatorConfig:
    return DiscriminatorConfig(
        kind="projected", network=tiny_classifier_spec, maps=("stages.0", "stages.1", "penultimate"), widths=(8, 8)
    )
