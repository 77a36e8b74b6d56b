"""What tests of several recipes need."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quick_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the demo's classifiers on few images: 500 attacked ones take longer than a short training."""
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import demo

    config = partial(demo.FitConfig, num_test_images=32, num_attacked_images=4)
    monkeypatch.setattr(demo, "FitConfig", config)
