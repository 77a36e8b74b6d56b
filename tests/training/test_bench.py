"""`unlogit bench`: what it counts, and that it measures at all."""

from __future__ import annotations

import pytest

from unlogit.errors import UnlogitError
from unlogit.methods.biggan.config import DiscriminatorConfig, GeneratorConfig
from unlogit.training.bench import BenchConfig, bench, table

TINY = BenchConfig(
    GeneratorConfig(32, channels=2, noise=16, attention=None),
    DiscriminatorConfig(channels=2, attention=None),
    condition=5,
    batch=4,
    rounds=1,
)


def test_everything_is_measured(tiny_classifier_spec: str) -> None:
    config = BenchConfig(**vars(TINY) | {"images": "scenes:count=8", "classifier": tiny_classifier_spec})
    found = bench(config)
    assert [one.name for one in found] == ["training step", "reconstruction", "classifier", "reading"]
    step, reconstruction, _, reading = found
    assert all(one.images_per_second > 0 for one in found)
    assert step.flop is not None and reconstruction.flop is not None and step.share is not None
    # Two discriminator steps of four images, each through G and twice D, and G's own step.
    assert step.flop > 2 * reconstruction.flop
    assert 0 < step.share < 1.5
    assert reading.flop is None
    told = table(config, found)
    assert "training step" in told and "peak memory" in told


def test_nonsense_is_refused() -> None:
    with pytest.raises(UnlogitError, match="batch 0: must be at least 1"):
        BenchConfig(batch=0)
