"""What classifiers are fitted to: each objective against an independent statement of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F

from unlogit.classifier_training.objectives import (
    OBJECTIVES,
    LayoutHead,
    Settings,
    divergence,
    freeze_batch_norm,
    nonlinearity,
    tangent,
    with_layout,
)

SETTINGS = Settings(epsilon=8 / 255, steps=3)


def network(norm: bool = False) -> nn.Module:
    torch.manual_seed(0)
    between: nn.Module = nn.BatchNorm2d(8) if norm else nn.Identity()
    return nn.Sequential(nn.Conv2d(3, 8, 3), between, nn.Tanh(), nn.Flatten(), nn.Linear(8 * 36, 5)).double()


def images() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(16, 3, 8, 8, generator=generator, dtype=torch.double)
    labels = torch.randint(0, 5, (16,), generator=generator)
    return pixels, labels, torch.randn(pixels.shape, generator=generator, dtype=torch.double)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_without_a_radius_every_objective_is_the_usual_one(name: str, smoothing: float) -> None:
    model, (pixels, labels, noise) = network(), images()
    settings = Settings(0.0, 2, smoothing)
    loss = OBJECTIVES[name](model, pixels, labels, noise, settings)
    assert loss.item() == pytest.approx(F.cross_entropy(model(pixels), labels, label_smoothing=smoothing).item())


@pytest.mark.parametrize("name", ["fgsm", "pgd", "trades", "llr"])
def test_a_radius_makes_it_harder(name: str) -> None:
    model, given = network(), images()
    usual = OBJECTIVES["standard"](model, *given, SETTINGS)
    assert OBJECTIVES[name](model, *given, SETTINGS) > usual + 1e-3


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradient_is_that_of_the_loss(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By finite differences along one direction, the attacked images held: they are constants to the gradient."""
    model, given = network(), images()
    attacked = (given[0] + SETTINGS.epsilon * given[2].sign()).clamp(0, 1)
    monkeypatch.setattr("unlogit.classifier_training.objectives.ascend", lambda *_: attacked)
    weight = model[0].weight
    OBJECTIVES[name](model, *given, SETTINGS).backward()
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    step, values = 1e-3, []
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(sign * step * direction)
        values.append(OBJECTIVES[name](model, *given, SETTINGS).item())
        with torch.no_grad():
            weight.sub_(sign * step * direction)
    assert (values[0] - values[1]) / (2 * step) == pytest.approx((weight.grad * direction).sum().item(), rel=0.02)


def test_fgsm_is_the_usual_loss_of_images_attacked_from_that_start() -> None:
    model, (pixels, labels, noise) = network(), images()
    start = (pixels + (2 * torch.special.ndtr(noise) - 1) * SETTINGS.epsilon).clamp(0, 1)
    (grad,) = torch.autograd.grad(F.cross_entropy(model(start.requires_grad_()), labels, reduction="sum"), start)
    moved = (start + 1.25 * SETTINGS.epsilon * grad.sign() - pixels).clamp(-SETTINGS.epsilon, SETTINGS.epsilon)
    expected = F.cross_entropy(model((pixels + moved).clamp(0, 1)), labels)
    assert OBJECTIVES["fgsm"](model, pixels, labels, noise, SETTINGS).item() == pytest.approx(expected.item())


def test_trades_divergence_is_that_of_torch_distributions() -> None:
    p, q = (torch.randn(7, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    theirs = kl_divergence(Categorical(logits=p), Categorical(logits=q))
    torch.testing.assert_close(divergence(p.log_softmax(1), q.log_softmax(1)), theirs)


def test_trades_is_cross_entropy_and_beta_times_the_largest_divergence() -> None:
    model, (pixels, labels, noise) = network(), images()
    without = OBJECTIVES["trades"](model, pixels, labels, noise, Settings(8 / 255, 10, trades_beta=0.0))
    assert without.item() == pytest.approx(F.cross_entropy(model(pixels), labels).item())
    once, twice = (
        OBJECTIVES["trades"](model, pixels, labels, noise, Settings(8 / 255, 10, trades_beta=beta)) - without
        for beta in (1.0, 2.0)
    )
    assert twice.item() == pytest.approx(2 * once.item(), rel=1e-3)
    # No corner of the ball that is tried at random is further off than where the ascent ended.
    clean = Categorical(logits=model(pixels))
    for seed in range(20):
        sign = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(seed)).sign()
        corner = (pixels + 8 / 255 * sign).clamp(0, 1)
        assert kl_divergence(clean, Categorical(logits=model(corner))).mean() < once


def test_llr_of_a_linear_loss_is_exactly_nothing() -> None:
    pixels, _, noise = images()
    grad = torch.randn(pixels.shape[1:], generator=torch.Generator().manual_seed(3), dtype=torch.double).round()

    def losses(moved: Tensor) -> Tensor:
        return (moved * grad).flatten(1).sum(1)

    grid = (pixels * 8).round() / 8  # numbers whose sums are exact
    value, gradient = tangent(losses, grid)
    delta = noise.round() / 8
    assert torch.equal(gradient, grad.expand_as(gradient))
    assert torch.equal(nonlinearity(losses(grid + delta), value, gradient, delta), torch.zeros(16, dtype=torch.double))


def test_llr_of_a_quadratic_loss_is_its_second_order_term() -> None:
    pixels, _, noise = images()

    def losses(moved: Tensor) -> Tensor:
        return moved.square().flatten(1).sum(1)

    value, gradient = tangent(losses, pixels)
    torch.testing.assert_close(
        nonlinearity(losses(pixels + noise), value, gradient, noise), noise.square().flatten(1).sum(1)
    )


def test_llr_is_the_loss_and_its_two_weighted_terms() -> None:
    model, (pixels, labels, noise) = network(), images()

    def at(llr_lambda: float, llr_mu: float) -> float:
        settings = Settings(8 / 255, 2, llr_lambda=llr_lambda, llr_mu=llr_mu)
        return float(OBJECTIVES["llr"](model, pixels, labels, noise, settings).detach())

    usual = F.cross_entropy(model(pixels), labels).item()
    assert at(0, 0) == pytest.approx(usual)
    gamma, along = at(1, 0) - usual, at(0, 1) - usual
    assert gamma > 0 and along > 0
    assert at(4, 3) == pytest.approx(usual + 4 * gamma + 3 * along, rel=1e-4)


@pytest.mark.parametrize(("name", "passes"), [("standard", 1), ("fgsm", 1), ("pgd", 1), ("trades", 2), ("llr", 2)])
def test_batch_norm_counts_what_is_learnt_from_and_not_the_attack(name: str, passes: int) -> None:
    model = network(norm=True)
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    OBJECTIVES[name](model, *images(), SETTINGS)
    assert norm.num_batches_tracked == passes


def test_frozen_batch_norm_keeps_the_output_and_is_restored() -> None:
    model, (pixels, *_) = network(norm=True), images()
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
    before = norm.running_mean.clone()
    with freeze_batch_norm(model):
        quiet = model(pixels)
    assert torch.equal(norm.running_mean, before)
    assert torch.equal(model(pixels), quiet)
    assert not torch.equal(norm.running_mean, before)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_layout_head_adds_what_it_does_not_read(name: str) -> None:
    model, (pixels, labels, noise) = network(), images()
    settings = Settings(0.0, 1)
    head = LayoutHead(5, shuffled=False)
    torch.nn.init.zeros_(head.linear.weight)
    torch.nn.init.zeros_(head.linear.bias)
    usual = OBJECTIVES[name](model, pixels, labels, noise, settings)
    # What reads nothing but the mean leaves all of the variance.
    total = with_layout(OBJECTIVES[name], head, 0.5)(model, pixels, labels, noise, settings)
    assert total.item() == pytest.approx(usual.item() + 0.5)
    assert not model._forward_hooks


def test_the_layout_head_learns_the_image_s_own_colours_and_none_of_another_s() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(256, 3, 2, 2, generator=generator)
    logits = pixels.flatten(1)
    left = {}
    for shuffled in (False, True):
        torch.manual_seed(0)
        head = LayoutHead(12, shuffled, side=2)
        optimiser = torch.optim.Adam(head.parameters(), 0.03)
        for step in range(300):
            order = torch.randperm(256, generator=torch.Generator().manual_seed(step))
            optimiser.zero_grad()
            head(logits[order], pixels[order]).backward()
            optimiser.step()
        left[shuffled] = float(head(logits, pixels).detach())
    assert left[False] < 0.05 and left[True] > 0.8


def test_the_layout_head_s_gradient_reaches_the_network() -> None:
    model, given = network(), images()
    gradients = []
    for weight in (1.0, 2.0, 3.0):
        model.zero_grad()
        torch.manual_seed(0)
        head = LayoutHead(5, shuffled=False)
        # An objective of its own, without any attack, whose gradient stays the same.
        with_layout(OBJECTIVES["standard"], head, weight)(model, *given, SETTINGS).backward()
        gradients.append(model[0].weight.grad.clone())
    steps = gradients[1] - gradients[0], gradients[2] - gradients[1]
    assert steps[0].abs().max() > 1e-4
    torch.testing.assert_close(*steps, rtol=1e-3, atol=1e-6)  # The head computes in float32.
