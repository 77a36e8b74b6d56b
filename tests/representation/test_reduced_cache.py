"""A cache of representations never mixes views of reduced images with views of whole ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from unlogit import photos
from unlogit.classifiers import open_classifier
from unlogit.images import Loader, View, open_images
from unlogit.representation import Representation, RepresentationCache


def test_reduced_and_whole_views_have_files_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    for file in sorted(photos.paths())[:4]:
        with Image.open(file) as image:
            image.convert("RGB").resize((201, 151)).save(tmp_path / "images" / file.name, "JPEG")
    source, view = open_images(f"folder:{tmp_path}/images"), View(16, reduced=True)
    representation = Representation(open_classifier("mini:plain"), "logits")
    batches = {each.reduced: Loader(source, each, 4, seed=0).batch(0) for each in (view, replace(view, reduced=False))}
    expected = {reduced: representation.raw(batch.images) for reduced, batch in batches.items()}
    assert not torch.allclose(expected[True], expected[False], atol=2e-3)
    for _ in range(2):  # Computed, and then read.
        for reduced, batch in batches.items():
            cache = RepresentationCache(tmp_path / "cache", representation, source, replace(view, reduced=reduced))
            torch.testing.assert_close(cache(batch), expected[reduced], atol=1e-3, rtol=1e-3)
    assert len(list((tmp_path / "cache").glob("*.rows"))) == 2
    assert "differs" not in capsys.readouterr().err  # Rows are compared with views of the same kind.
