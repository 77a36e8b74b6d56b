"""Attacks: inside the ball, up the loss, and the same as an independent implementation's."""

from __future__ import annotations

import foolbox
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.attacks import fgsm, pgd
from unlogit.errors import UnlogitError

EPSILON = 8 / 255


def model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 36, 5)).eval()


def images(seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(16, 3, 8, 8, generator=generator), torch.randint(0, 5, (16,), generator=generator)


def losses(net: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(net(pixels), labels, reduction="none").detach()


@pytest.mark.parametrize("epsilon", [EPSILON, 0.1, 0.7])
@pytest.mark.parametrize("start", [False, True])
def test_attacks_stay_within_epsilon_and_in_the_pixel_range(epsilon: float, start: bool) -> None:
    net = model()
    pixels, labels = images()
    kept = pixels.clone()
    for attacked in (
        fgsm(net, pixels, labels, epsilon, random_start=start),
        pgd(net, pixels, labels, epsilon, 5, random_start=start),
        pgd(net, pixels, labels, epsilon, 3, 10.0, random_start=start),
    ):
        assert attacked.shape == pixels.shape and not attacked.requires_grad
        assert attacked.min() >= 0 and attacked.max() <= 1
        # An ulp of 1, since pixel +- epsilon is rounded.
        assert (attacked.double() - pixels.double()).abs().max() <= epsilon + 2**-24
        assert (attacked - pixels).abs().max() > 0.5 * epsilon
    assert torch.equal(pixels, kept)


def test_they_ascend_the_loss_and_more_steps_ascend_further() -> None:
    net = model()
    pixels, labels = images()
    clean = losses(net, pixels, labels)
    once = losses(net, fgsm(net, pixels, labels, EPSILON), labels)
    often = losses(net, pgd(net, pixels, labels, EPSILON, 20, random_start=False), labels)
    assert (once > clean).all() and (often > clean).all()
    assert often.mean() > once.mean()


def test_fgsm_is_foolbox_s() -> None:
    net = model()
    pixels, labels = images()
    theirs = foolbox.attacks.LinfFastGradientAttack(random_start=False).run(
        foolbox.PyTorchModel(net, bounds=(0, 1)), pixels, labels, epsilon=EPSILON
    )
    assert torch.allclose(fgsm(net, pixels, labels, EPSILON), theirs, atol=1e-6)


def test_pgd_is_foolbox_s() -> None:
    net = model()
    pixels, labels = images()
    theirs = foolbox.attacks.LinfPGD(steps=7, abs_stepsize=0.01, random_start=False).run(
        foolbox.PyTorchModel(net, bounds=(0, 1)), pixels, labels, epsilon=EPSILON
    )
    assert torch.allclose(pgd(net, pixels, labels, EPSILON, 7, 0.01, random_start=False), theirs, atol=1e-6)


def test_the_generator_alone_decides_the_random_start() -> None:
    net = model()
    pixels, labels = images()

    def attacked(seed: int) -> Tensor:
        return pgd(net, pixels, labels, EPSILON, 2, generator=torch.Generator().manual_seed(seed))

    first = attacked(0)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(first, attacked(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, attacked(1))


def test_a_random_start_alone_fills_the_ball_evenly() -> None:
    pixels = torch.full((64, 3, 8, 8), 0.5)
    labels = torch.zeros(64, dtype=torch.long)
    moved = (pgd(model(), pixels, labels, 0.1, 0) - pixels) / 0.1
    assert abs(float(moved.mean())) < 0.03
    assert abs(float(moved.std()) - 3**-0.5) < 0.02


def test_parameters_get_no_gradients_and_no_grad_outside_is_no_hindrance() -> None:
    net = model()
    pixels, labels = images()
    with torch.no_grad():
        attacked = pgd(net, pixels, labels, EPSILON, 3)
    assert (losses(net, attacked, labels) > losses(net, pixels, labels)).float().mean() > 0.9
    assert all(p.grad is None for p in net.parameters())


def test_an_image_s_attack_does_not_depend_on_its_neighbours() -> None:
    net = model()
    pixels, labels = images()
    together = pgd(net, pixels, labels, EPSILON, 4, random_start=False)
    alone = pgd(net, pixels[:1], labels[:1], EPSILON, 4, random_start=False)
    assert torch.allclose(together[:1], alone, atol=1e-6)


def test_pixels_out_of_range_are_refused() -> None:
    pixels, labels = images()
    with pytest.raises(UnlogitError, match=r"expected \[0, 1\].*divide by 255"):
        fgsm(model(), pixels * 255, labels, EPSILON)
