"""The nearest neighbour against a plain search, and what it does with limits, caches and broken files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from unlogit.classifiers import Classifier, open_classifier
from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import Loader, View, open_images
from unlogit.methods.nearest import NearestNeighbour
from unlogit.representation import Representation
from unlogit.representation.cache import COMPARED

TRAIN, OTHER = "scenes:count=90", "scenes:test,count=20"
VIEW = View(32, flip=True)


@pytest.fixture(scope="module")
def classifier(tiny_classifier_spec: str) -> Classifier:
    return open_classifier(tiny_classifier_spec)


def images(spec: str) -> torch.Tensor:
    return torch.cat([batch.images for batch in Loader(open_images(spec), View(32), 64, seed=0).once()])


def fitted(classifier: Classifier) -> Representation:
    return Representation(classifier).fit(images(TRAIN).split(64))


def test_finds_what_a_plain_search_finds(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlogit.methods.nearest.ROWS", 7)
    representation = fitted(classifier)
    inverter = NearestNeighbour(representation, open_images(TRAIN), VIEW)
    asked = representation.raw(images(OTHER))
    rows = representation.standardise(representation.raw(images(TRAIN))).half().double().numpy()
    distance = ((representation.standardise(asked).double().numpy()[:, None] - rows) ** 2).sum(2)
    assert inverter.nearest(asked).tolist() == distance.argmin(1).tolist()


def test_answers_training_images_with_themselves(classifier: Classifier) -> None:
    inverter = NearestNeighbour(fitted(classifier), open_images(TRAIN), VIEW)
    asked = images(TRAIN)
    assert torch.equal(inverter.reconstruct(asked), asked)
    assert inverter.sample_noise(3) is None
    assert (inverter.size, inverter.deviations) == (32, ())


def test_distances_are_in_standardised_units(classifier: Classifier) -> None:
    representation = fitted(classifier)
    # With all other dimensions of no weight, the nearest in the first one must be found.
    scale = torch.full((representation.dim,), 1e6)
    scale[0] = 1
    inverter = NearestNeighbour(Representation(classifier, scale=scale), open_images(TRAIN), VIEW)
    asked = representation.raw(images(OTHER))
    first = representation.raw(images(TRAIN))[:, 0].half().float()
    chosen = first[inverter.nearest(asked)]
    assert torch.allclose((chosen - asked[:, 0]).abs(), (first[None] - asked[:, :1]).abs().min(1).values, atol=1e-5)


def test_a_limit_takes_that_many_spread_over_the_source(classifier: Classifier) -> None:
    inverter = NearestNeighbour(fitted(classifier), open_images(TRAIN), VIEW, limit=30)
    indices = inverter.indices.tolist()
    assert len(inverter.rows) == len(set(indices)) == 30
    assert min(indices) < 30 and max(indices) >= 60
    assert set(inverter.nearest(inverter.representation.raw(images(OTHER))).tolist()) <= set(indices)


def test_cached_representations_are_used_again(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    representation = fitted(classifier)
    before = NearestNeighbour(representation, open_images(TRAIN), VIEW, cache=tmp_path)

    encoded = []
    raw = Representation.raw

    def count(self: Representation, images: Tensor) -> Tensor:
        encoded.append(len(images))
        return raw(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(Representation, "raw", count)
        after = NearestNeighbour(representation, open_images(TRAIN), VIEW, cache=tmp_path)
    assert encoded == [COMPARED]
    assert torch.equal(before.rows, after.rows)
    live = NearestNeighbour(representation, open_images(TRAIN), VIEW)
    assert torch.allclose(live.rows.float(), after.rows.float(), atol=0.02)


def test_a_representation_of_another_length_is_one_clear_line(classifier: Classifier) -> None:
    inverter = NearestNeighbour(fitted(classifier), open_images(TRAIN), VIEW, limit=5)
    with pytest.raises(UnlogitError, match=r"shape \(2, 7\): this inverter reads N x 10 \(logits of small:"):
        inverter.invert(torch.zeros(2, 7))


def test_broken_files_are_left_out(classifier: Classifier, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for place in range(4):
        Image.fromarray(generator.integers(0, 256, (40, 48, 3), np.uint8)).save(tmp_path / f"{place}.png")
    (tmp_path / "1.png").write_bytes(b"not an image")
    inverter = NearestNeighbour(Representation(classifier), open_images(f"folder:{tmp_path}"), VIEW)
    assert inverter.indices.tolist() == [0, 2, 3]
    (tmp_path / "2.png").write_bytes(b"broken since")
    with pytest.raises(BrokenImage, match=r"2\.png"):
        inverter.reconstruct(inverter_input(tmp_path))
    for place in range(4):
        (tmp_path / f"{place}.png").write_bytes(b"not an image")
    with pytest.raises(UnlogitError, match="none of its images can be decoded"):
        NearestNeighbour(Representation(classifier), open_images(f"folder:{tmp_path}"), VIEW)


def inverter_input(folder: Path) -> torch.Tensor:
    """Images 0 and 3, and what 2 was, which the seed still knows."""
    generator = np.random.default_rng(0)
    drawn = [torch.from_numpy(generator.integers(0, 256, (40, 48, 3), np.uint8)).permute(2, 0, 1) for _ in range(4)]
    return View(32).apply([drawn[0], drawn[2], drawn[3]])
