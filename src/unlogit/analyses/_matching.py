"""Rotation and mirroring by rendering (analysis by synthesis).

A network that is fitted on a few thousand small images cannot read the rotation of a shape. Instead, the scene is
rendered with every rotation and mirroring, all other factors unchanged, and the reading is the rendering that is most
similar to the image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unlogit.analyses._factors import targets
from unlogit.images.scenes import SceneImages, render

TURNS = 24
"""Number of candidate rotations. An error of half a step costs 0.01 of the variance."""


@torch.no_grad()
def matched(images: Tensor, source: SceneImages, indices: Tensor) -> dict[str, Tensor]:
    """Return rotation (N x 2) and mirroring (N x 1) of these images, as `targets` does, where they are visible.

    Args:
        images: N x 3 x S x S in [0, 1], each of a scene or reconstructed from one.
        source: source of the scenes.
        indices: indices of the scenes in it, int64, N.
    """
    shapes, factors = source.labels[indices], source.factors(indices)
    truth = targets(factors, shapes)
    result = {name: torch.zeros_like(truth[name].values) for name in ("rotation", "mirror")}
    candidates = {"rotation": torch.arange(TURNS) / TURNS, "mirror": torch.tensor([False, True])}
    for name, tried in candidates.items():
        visible = truth[name].shows.nonzero()[:, 0]
        mine = {key: value[visible] for key, value in factors.items()}
        ways = [{**mine, name: way.expand(len(visible))} for way in tried]
        apart = torch.stack([unlike(images[visible], render(shapes[visible], way, images.shape[-1])) for way in ways])
        best = {**mine, name: tried[apart.argmin(0)]}
        result[name][visible] = targets(best, shapes[visible])[name].values
    return result


def unlike(images: Tensor, drawn: Tensor) -> Tensor:
    """Return the share of an image's variance that no linear change of the rendering's colours explains, N.

    Both are N x 3 x S x S. An image of the same forms in other colours or with less contrast has 0.
    """
    wanted = images.double().flatten(2)
    wanted = wanted - wanted.mean(2, keepdim=True)
    drawing = drawn.double().flatten(2)
    drawing = drawing - drawing.mean(2, keepdim=True)
    gram = drawing @ drawing.mT + 1e-6 * torch.eye(3, dtype=torch.double)
    crossed = drawing @ wanted.mT
    explained = (crossed * torch.linalg.solve(gram, crossed)).sum((1, 2))
    return 1 - explained / wanted.square().sum((1, 2)).clamp(min=1e-12)
