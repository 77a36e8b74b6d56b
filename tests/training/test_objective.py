"""The losses against hand-written formulas."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from unlogit.training import objective

SCORES = st.lists(st.floats(-5, 5), min_size=1, max_size=8)


@given(SCORES, SCORES)
def test_discriminator_loss_is_the_usual_hinge_less_two(real: list[float], fake: list[float]) -> None:
    r, f = torch.tensor(real), torch.tensor(fake)
    usual = F.relu(1 - r).mean() + F.relu(1 + f).mean() - 2
    assert math.isclose(float(objective.discriminator_loss([r], [f])), float(usual), abs_tol=1e-5)


def test_losses_are_means_over_heads() -> None:
    a, b = torch.tensor([0.5, -0.5]), torch.tensor([2.0, 0.2])
    both = objective.discriminator_loss([a, b], [b, a])
    alone = [objective.discriminator_loss([a], [b]), objective.discriminator_loss([b], [a])]
    torch.testing.assert_close(both, torch.stack(alone).mean())
    torch.testing.assert_close(objective.generator_loss([a, b]), -(a.mean() + b.mean()) / 2)


def test_layout_forgets_the_mirror_and_nothing_else() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(objective.layout_loss(image.flip(3), image), torch.tensor(0.0))
    assert objective.layout_loss(image.flip(2), image) > 1e-4
    # A constant offset of c in [0, 1] is one of 2c in [-1, 1].
    torch.testing.assert_close(objective.layout_loss(image + 0.1, image), torch.tensor(0.04), rtol=1e-4, atol=1e-6)


def test_warm_start_loss_adds_the_half_size_error() -> None:
    torch.manual_seed(0)
    a, b = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    half = (2 * F.avg_pool2d(a, 2) - 2 * F.avg_pool2d(b, 2)).abs().mean()
    torch.testing.assert_close(objective.warm_start_loss(a, b), objective.layout_loss(a, b) + 0.3 * half)
