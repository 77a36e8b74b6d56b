"""Spaces in which distances are taken."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unlogit.classifiers import Classifier, open_classifier
from unlogit.metrics.embedding import Features, Pixels, last_maps


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def classifier(tiny_classifier_spec: str) -> Classifier:
    return open_classifier(tiny_classifier_spec)


def test_pixels_are_root_mean_squares(images: Tensor) -> None:
    other = images.flip(0)
    expected = (images - other).square().mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(Pixels().distance(images, other), expected)


def test_features_are_one_map_a_resolution(classifier: Classifier) -> None:
    maps = last_maps(classifier)
    found = classifier.features(torch.rand(1, 3, 32, 32), maps)
    sides = [found[name].shape[-1] for name in maps]
    assert sides == sorted(set(sides), reverse=True)
    assert all(1 < side <= 16 for side in sides)


def test_feature_distances_are_those_of_unit_vectors_averaged_over_places_and_maps(
    classifier: Classifier, images: Tensor
) -> None:
    space, other = Features(classifier), images.flip(0)
    torch.testing.assert_close(space(images).norm(dim=1), torch.ones(4))
    a, b = classifier.features(images, space.maps), classifier.features(other, space.maps)
    each = []
    for name in space.maps:
        unit_a, unit_b = (x[name] / x[name].norm(dim=1, keepdim=True).clamp(min=1e-12) for x in (a, b))
        each.append((unit_a - unit_b).square().sum(1).mean((1, 2)))
    torch.testing.assert_close(space.distance(images, other), torch.stack(each).mean(0).sqrt())
    assert space.distance(images, images).max() == 0
    assert classifier.spec in space.name


def test_a_network_without_maps_has_its_penultimate_layer(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlogit.metrics.embedding._side", lambda _name, _output: {})
    space = Features(classifier)
    assert space.maps == ["penultimate"]
    assert space(torch.rand(2, 3, 32, 32)).shape == (2, 16)
