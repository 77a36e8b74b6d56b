"""Inception is asked only where its weights are, and nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unlogit.metrics import Unavailable, inception


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which weights are looked for."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    inception.features.cache_clear()
    return tmp_path / "checkpoints"


def test_missing_weights_are_named_with_their_place(hub: Path) -> None:
    with pytest.raises(Unavailable, match=r"needs weights that are not at .*6726825d\.pth"):
        inception.find_weights()
    with pytest.raises(Unavailable, match="torch-fidelity downloads"):
        inception.features()


def test_a_file_that_holds_more_than_weights_is_not_loaded(hub: Path) -> None:
    torch.save({"run": print}, hub / inception.WEIGHTS)
    assert inception.find_weights() == hub / inception.WEIGHTS
    with pytest.raises(Unavailable, match="holds no plain weights"):
        inception.features()


def test_features_are_inceptions(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.save({}, hub / inception.WEIGHTS)
    # Random weights, since 95 MB are not written for this.
    monkeypatch.setattr(package.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
    found = inception.features()(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert found.shape == (2, 2048)
    assert found.isfinite().all()
