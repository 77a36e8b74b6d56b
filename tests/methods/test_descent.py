"""Optimisation against cases with a known answer, and its parts against independent statements."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unlogit.classifiers import Classifier, Preprocessing
from unlogit.methods import engstrom, mahendran
from unlogit.methods._descent import DescentInverter
from unlogit.representation import Representation

SIZE = 32


@pytest.fixture(scope="module")
def linear() -> Representation:
    """The "penultimate" layer of a network that loses nothing: an invertible linear map of 4x4 patches."""
    torch.manual_seed(0)
    mix = nn.Conv2d(48, 48, 1)
    orthogonal = nn.init.orthogonal_(torch.empty(48, 48))
    mix.weight.data = (orthogonal * torch.linspace(0.7, 1.4, 48)).view(48, 48, 1, 1)
    network = nn.Sequential(nn.PixelUnshuffle(4), mix, nn.Flatten(), nn.Linear(48 * 64, 2))
    classifier = Classifier(network, Preprocessing(SIZE, (0.5,) * 3, (0.25,) * 3), ("a", "b"), "3", "test:linear")
    return Representation(classifier, "penultimate")


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Smooth ones, inside [0, 1]."""
    coarse = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    return nn.functional.interpolate(0.1 + 0.8 * coarse, (SIZE, SIZE), mode="bilinear")


def inverters(representation: Representation) -> dict[str, DescentInverter]:
    exact = {"alpha_weight": 0.0, "tv_weight": 0.0, "jitter": 0}
    return {
        "engstrom": engstrom.EngstromInverter(
            engstrom.Options("", size=SIZE, steps=400, step_size=4.0), representation
        ),
        "mahendran": mahendran.MahendranInverter(
            mahendran.Options("", size=SIZE, steps=300, **exact),  # type: ignore[arg-type]
            representation,
        ),
    }


@pytest.mark.parametrize("name", ["engstrom", "mahendran"])
def test_an_invertible_network_is_inverted(linear: Representation, images: Tensor, name: str) -> None:
    inverter = inverters(linear)[name]
    start = inverter.sample_noise(2, torch.Generator().manual_seed(0))
    assert start is not None and (start - images).abs().mean() > 0.1
    made = inverter.reconstruct(images, start)
    assert (made - images).abs().max() < 2e-3


def test_total_variation_flattens_what_the_representation_would_have(linear: Representation, images: Tensor) -> None:
    options = mahendran.Options("", size=SIZE, steps=200, tv_weight=5e3, alpha_weight=0.0, jitter=0, rate=0.05)
    made = mahendran.MahendranInverter(options, linear).reconstruct(images)
    flat, steep = (mahendran.total_variation(x, 2) for x in (made, images))
    assert torch.all(flat < 0.5 * steep)


def test_the_alpha_norm_keeps_values_small(linear: Representation, images: Tensor) -> None:
    options = mahendran.Options("", size=SIZE, steps=100, tv_weight=0.0, alpha_weight=1e6, jitter=0)
    inverter = mahendran.MahendranInverter(options, linear)
    assert (inverter.reconstruct(images) - 0.5).abs().max() < 0.1


def test_a_ball_is_not_left(linear: Representation, images: Tensor) -> None:
    options = engstrom.Options("", size=SIZE, steps=60, epsilon=3.0)
    inverter = engstrom.EngstromInverter(options, linear)
    start = inverter.sample_noise(2, torch.Generator().manual_seed(0))
    assert start is not None
    made = inverter.reconstruct(images, start)
    away = (made - start).flatten(1).norm(dim=1)
    assert torch.all(away <= 3.0 + 1e-4) and torch.all(away > 2.9)


def test_the_first_step_has_its_length(linear: Representation, images: Tensor) -> None:
    options = engstrom.Options("", size=SIZE, steps=1, step_size=1.0)
    start = torch.full_like(images, 0.5)
    made = engstrom.EngstromInverter(options, linear).reconstruct(images, start)
    lengths = (made - start).flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, SIZE / 224), rtol=1e-4, atol=0)


def test_descents_begin_at_given_images(linear: Representation) -> None:
    options = engstrom.Options("", size=SIZE, start="scenes:count=8")
    inverter = engstrom.EngstromInverter(options, linear)
    starts = inverter.sample_noise(6, torch.Generator().manual_seed(0))
    again = inverter.sample_noise(6, torch.Generator().manual_seed(0))
    other = inverter.sample_noise(6, torch.Generator().manual_seed(1))
    assert starts is not None and again is not None and other is not None
    assert torch.equal(starts, again) and not torch.equal(starts, other)
    assert (starts * 255 - (starts * 255).round()).abs().max() < 1e-3  # Real images, in bytes.


@pytest.mark.parametrize("beta", [2.0, 1.0])
def test_total_variation_is_a_double_sum(beta: float) -> None:
    u = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    v = u.double().numpy()
    wanted = np.zeros(2)
    for n, c, i, j in np.ndindex(v.shape):
        right = v[n, c, i, j + 1] - v[n, c, i, j] if j + 1 < 5 else 0.0
        below = v[n, c, i + 1, j] - v[n, c, i, j] if i + 1 < 6 else 0.0
        wanted[n] += (right**2 + below**2) ** (beta / 2) / 90
    np.testing.assert_allclose(mahendran.total_variation(u, beta).numpy(), wanted, rtol=1e-3)


def test_the_alpha_norm_is_a_mean_of_powers() -> None:
    u = torch.tensor([-2.0, 1.0, 0.0]).view(1, 3, 1, 1)
    assert math.isclose(float(mahendran.alpha_norm(u, 6.0)), (64 + 1) / 3, rel_tol=1e-6)


def test_the_descent_is_adam(linear: Representation) -> None:
    """Against torch's own, gradient by gradient, at a rate that does not decay."""
    inverter = mahendran.MahendranInverter(mahendran.Options("", size=8, steps=10**9, rate=0.01), linear)
    generator = torch.Generator().manual_seed(0)
    ours = torch.rand(2, 3, 8, 8, generator=generator)
    theirs = ours.clone().requires_grad_()
    adam = torch.optim.Adam([theirs], 0.01, (0.9, 0.999), eps=1e-12)
    state: dict[str, Tensor] = {}
    for step in range(5):
        theirs.grad = torch.randn(2, 3, 8, 8, generator=generator)
        adam.step()
        ours = inverter.update(ours, theirs.grad, ours, step, state)
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)
