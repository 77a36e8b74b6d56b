"""Recognition by networks that had no part in training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from unlogit.classifiers import open_classifier
from unlogit.classifiers.fitted import lineage
from unlogit.classifiers.small import CONFIG
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, Loader, View, open_images
from unlogit.metrics.recognition import (
    encode,
    networks,
    part_in_training,
    recognise,
    recognition,
    references,
    thumbnail,
)


def test_values_are_those_of_numpy() -> None:
    torch.manual_seed(0)
    a, b = 3 * torch.randn(40, 12) + 5, torch.randn(40, 12)
    x, y = ((v.numpy() - a.numpy().mean(0)) / a.numpy().std(0) for v in (a, b))
    cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    values = recognition(a, b)
    np.testing.assert_allclose(values["cosine"], cosine, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(values["same_class"], a.argmax(1) == b.argmax(1))
    five = [int(p) in order[-5:] for p, order in zip(a.argmax(1), b.numpy().argsort(1), strict=True)]
    np.testing.assert_array_equal(values["class_in_5"], five)
    assert 0 < values["class_in_5"].mean() < 1


def test_originals_are_recognised_and_strangers_are_not(tiny_classifier_spec: str, tiny_scenes: ImageSource) -> None:
    classifier = open_classifier(tiny_classifier_spec)
    images = next(iter(Loader(tiny_scenes, View(32), 64, seed=0).once())).images
    same, strangers = recognise(classifier, images, images), recognise(classifier, images, images.roll(1, 0))
    torch.testing.assert_close(same["cosine"], torch.ones(64))
    assert same["same_class"].all() and same["class_in_5"].all()
    assert abs(float(strangers["cosine"].mean())) < 0.3
    changed = {
        name: float(recognise(classifier, images, f(images))["cosine"].mean()) for name, f in references().items()
    }
    assert list(changed) == ["mirrored", "noise 0.05", "thumbnail 32 px", "thumbnail 16 px", "thumbnail 8 px"]
    assert changed["thumbnail 32 px"] == pytest.approx(1)  # These images are of 32 px.
    assert changed["thumbnail 8 px"] < changed["thumbnail 16 px"] < 1


def test_noise_is_the_same_for_a_seed_and_a_thumbnail_keeps_the_mean() -> None:
    images = torch.full((2, 3, 32, 32), 0.5)
    noisy = references(seed=3)["noise 0.05"](images)
    torch.testing.assert_close(noisy, references(seed=3)["noise 0.05"](images))
    assert float((noisy - images).std()) == pytest.approx(0.05, rel=0.05)
    half = torch.zeros(1, 3, 32, 32)
    half[..., 16:] = 1
    small = thumbnail(half, 8)
    assert small.shape == half.shape
    assert float(small.mean()) == pytest.approx(0.5, abs=1e-4)
    assert float((small - half).abs().max()) > 0.1


def test_a_network_that_took_part_is_found(tiny_classifier_spec: str, tmp_path: Path) -> None:
    classifier = open_classifier(tiny_classifier_spec)
    weights = classifier.weights_fingerprint()
    assert part_in_training(classifier, {"small:elsewhere": weights}) == "small:elsewhere"
    assert part_in_training(classifier, {f"{tiny_classifier_spec}?size=64": None}) == f"{tiny_classifier_spec}?size=64"
    assert part_in_training(classifier, {"small:elsewhere": "another", "packaged:x": None}) is None
    # A twin that was fitted from another classifier shares its lineage.
    for name, start in (("twin", tiny_classifier_spec), ("twin of it", f"fitted:{tmp_path / 'twin'}?size=32")):
        (tmp_path / name).mkdir()
        (tmp_path / name / CONFIG).write_text(json.dumps({"fit": {"start": start}}))
    twin = f"fitted:{tmp_path / 'twin of it'}"
    assert lineage(twin) == [twin, f"fitted:{tmp_path / 'twin'}?size=32", tiny_classifier_spec]
    assert part_in_training(classifier, dict.fromkeys(lineage(twin))) == tiny_classifier_spec
    classifier.spec = twin
    assert part_in_training(classifier, {tiny_classifier_spec: "another"}) == tiny_classifier_spec


def test_automatic_networks_are_those_that_are_installed(tiny_classifier_spec: str) -> None:
    scenes, photos = open_images("scenes:count=4"), open_images("scenes:count=4")
    photos.spec = "folder:photos"
    automatic = (tiny_classifier_spec, "packaged:not_installed")
    assert list(networks(("auto",), photos, automatic)) == [tiny_classifier_spec]
    assert not networks(("auto",), scenes, automatic)
    assert list(networks((tiny_classifier_spec,), scenes)) == [tiny_classifier_spec]
    with pytest.raises(UnlogitError, match="unknown packaged classifier 'not_installed'"):
        networks(("packaged:not_installed",), photos)


def test_weights_have_one_fingerprint_at_any_size_and_after_fusing(tiny_classifier_spec: str) -> None:
    classifier, other = (open_classifier(tiny_classifier_spec) for _ in range(2))
    object.__setattr__(other.preprocessing, "size", 48)
    assert classifier.fingerprint() != other.fingerprint()
    assert classifier.weights_fingerprint() == other.weights_fingerprint() == other.fused().weights_fingerprint()


def test_batches_of_any_size_give_the_same_logits(tiny_classifier_spec: str) -> None:
    classifier = open_classifier(tiny_classifier_spec)
    images = torch.rand(10, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encode(classifier, images.split(3)), encode(classifier, [images]))
