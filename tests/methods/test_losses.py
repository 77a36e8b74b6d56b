"""The losses against hand-written formulas."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from unlogit.methods.biggan import losses

SCORES = st.lists(st.floats(-5, 5), min_size=1, max_size=8)


@given(SCORES, SCORES)
def test_discriminator_loss_is_the_usual_hinge_less_two(real: list[float], fake: list[float]) -> None:
    r, f = torch.tensor(real), torch.tensor(fake)
    usual = F.relu(1 - r).mean() + F.relu(1 + f).mean() - 2
    assert math.isclose(float(losses.discriminator_loss([r], [f])), float(usual), abs_tol=1e-5)


def test_losses_are_means_over_heads() -> None:
    a, b = torch.tensor([0.5, -0.5]), torch.tensor([2.0, 0.2])
    both = losses.discriminator_loss([a, b], [b, a])
    alone = [losses.discriminator_loss([a], [b]), losses.discriminator_loss([b], [a])]
    torch.testing.assert_close(both, torch.stack(alone).mean())
    torch.testing.assert_close(losses.generator_loss([a, b]), -(a.mean() + b.mean()) / 2)


def test_heads_can_be_weighted() -> None:
    a, b = torch.tensor([0.5, -0.5]), torch.tensor([2.0, 0.2])
    torch.testing.assert_close(losses.generator_loss([a, b], [0.5, 3.0]), -(0.5 * a.mean() + 3 * b.mean()))
    with pytest.raises(ValueError):
        losses.generator_loss([a, b], [1.0])


def test_the_spectral_loss_is_the_log_ratio_of_power() -> None:
    """Twice the contrast is four times the power at every frequency; a lattice is seen at its own frequency alone."""
    generator = torch.Generator().manual_seed(0)
    images = 0.5 + 0.1 * torch.randn(64, 3, 32, 32, generator=generator).clamp(-2, 2)
    doubled = losses.spectral_loss(0.5 + 2 * (images - 0.5), images)
    torch.testing.assert_close(doubled, torch.tensor(math.log(4) ** 2), rtol=1e-2, atol=0)
    assert losses.spectral_loss(images, images) == 0
    lattice = images + 0.05 * torch.cos(math.pi * torch.arange(32)).view(1, 1, 1, 32)
    assert losses.spectral_loss(lattice, images) > 0.01
    half = torch.cat([images[:32], images[:32]])
    torch.testing.assert_close(losses.spectral_loss(half, images[:32]), torch.tensor(0.0))


def test_r1_of_a_known_score() -> None:
    """A score of a . x in pixels of [-1, 1] has the gradient a everywhere: R1 is half its square."""
    a = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    real = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    penalty = losses.r1_penalty(lambda pixels: ((2 * pixels - 1) * a).sum((1, 2, 3)), real)
    torch.testing.assert_close(penalty, a.square().sum() / 2)


def test_layout_forgets_the_mirror_and_nothing_else() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(losses.layout_loss(image.flip(3), image), torch.tensor(0.0))
    assert losses.layout_loss(image.flip(2), image) > 1e-4
    # A constant offset of c in [0, 1] is one of 2c in [-1, 1].
    torch.testing.assert_close(losses.layout_loss(image + 0.1, image), torch.tensor(0.04), rtol=1e-4, atol=1e-6)


def test_warm_start_loss_adds_the_half_size_error() -> None:
    torch.manual_seed(0)
    a, b = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    half = (2 * F.avg_pool2d(a, 2) - 2 * F.avg_pool2d(b, 2)).abs().mean()
    torch.testing.assert_close(losses.warm_start_loss(a, b), losses.layout_loss(a, b) + 0.3 * half)


def test_the_relativistic_loss_pairs_what_shares_a_representation() -> None:
    real, fake = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    wanted = (math.log1p(math.exp(-0.5)) + math.log1p(math.exp(5.0))) / 2
    assert math.isclose(float(losses.relativistic_loss([real], [fake])), wanted, rel_tol=1e-6)
    both = losses.relativistic_loss([real, fake], [fake, real])
    alone = [losses.relativistic_loss([real], [fake]), losses.relativistic_loss([fake], [real])]
    torch.testing.assert_close(both, torch.stack(alone).mean())


def test_the_gradient_penalty_of_a_known_score() -> None:
    """A score of a . x in pixels of [-1, 1] has the slope a everywhere; of |x|^2 the slope 2x."""
    a = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    real, fake = torch.rand(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    condition = torch.zeros(2, 1)

    def flat(pixels: torch.Tensor, _condition: torch.Tensor) -> list[torch.Tensor]:
        return [((2 * pixels - 1) * a).sum((1, 2, 3))]

    def round_(pixels: torch.Tensor, _condition: torch.Tensor) -> list[torch.Tensor]:
        return [(2 * pixels - 1).square().sum((1, 2, 3))]

    torch.testing.assert_close(losses.gradient_penalty(flat, real, fake, condition), a.square().sum())
    wanted = sum((4 * (2 * x - 1).square()).sum((1, 2, 3)).mean() for x in (real, fake)) / 2
    torch.testing.assert_close(losses.gradient_penalty(round_, real, fake, condition), wanted)
