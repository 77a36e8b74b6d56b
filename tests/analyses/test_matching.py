"""Rotation and mirroring are read from an image of a scene, and not from one of another scene."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.analyses._factors import of_source
from unlogit.analyses._matching import matched, unlike
from unlogit.images.scenes import SceneImages

SOURCE = SceneImages("scenes:", "train", 32, 400, seed=7)
INDICES = torch.arange(400)
IMAGES = SOURCE.render(INDICES).float() / 255


def right(images: Tensor) -> dict[str, float]:
    """The mean cosine of what is read with what is true, where it shows: 1 for all right, 0 for chance."""
    said, known = matched(images, SOURCE, INDICES), of_source(SOURCE, INDICES)
    return {
        name: float(F.cosine_similarity(value, known[name].values)[known[name].shows].mean())
        for name, value in said.items()
    }


@pytest.mark.parametrize("made", ["as they are", "blurred", "in other colours"])
def test_read_from_the_scene_itself(made: str) -> None:
    images = {
        "as they are": IMAGES,
        "blurred": F.avg_pool2d(IMAGES, 3, 1, 1),
        "in other colours": 0.2 + 0.5 * IMAGES[:, [1, 2, 0]],
    }[made]
    found = right(images)
    assert found["rotation"] > 0.9
    assert found["mirror"] > 0.9


@pytest.mark.parametrize("made", ["of others", "of nothing"])
def test_not_read_from_what_does_not_show_it(made: str) -> None:
    found = right(IMAGES.roll(1, 0) if made == "of others" else torch.full_like(IMAGES, 0.5))
    assert abs(found["rotation"]) < 0.2
    assert abs(found["mirror"]) < 0.2


def test_unlike_is_what_a_regression_leaves() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(5, 3, 8, 8, generator=generator), torch.rand(5, 3, 8, 8, generator=generator)
    for one, other, found in zip(a.double(), b.double(), unlike(a, b), strict=True):
        inputs = torch.cat([other.flatten(1).T, torch.ones(64, 1, dtype=torch.double)], 1)
        left = one.flatten(1).T - inputs @ torch.linalg.lstsq(inputs, one.flatten(1).T).solution
        whole = one.flatten(1).T - one.flatten(1).mean(1)
        assert float(found) == pytest.approx(float(left.square().sum() / whole.square().sum()), abs=1e-5)
