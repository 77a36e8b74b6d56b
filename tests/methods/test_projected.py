"""The projected discriminator: what is frozen, what is fixed, and that every head is equation 2."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from unlogit.errors import UnlogitError
from unlogit.images import View, open_images
from unlogit.methods.biggan import DiscriminatorConfig
from unlogit.methods.biggan.projected import ProjectedDiscriminator

MAPS = ("pixels", "stages.0", "stages.2", "penultimate")


@pytest.fixture
def config(tiny_classifier_spec: str) -> DiscriminatorConfig:
    return DiscriminatorConfig(kind="projected", network=tiny_classifier_spec, maps=MAPS, widths=(8, 8, 16))


@pytest.fixture
def images() -> torch.Tensor:
    return View(32).apply(open_images("scenes:count=16").read(range(16)))


def test_one_score_a_place_and_head(config: DiscriminatorConfig, images: torch.Tensor) -> None:
    d = ProjectedDiscriminator(10, 32, config)
    scores = d(images, torch.randn(16, 10))
    # 32 x 32 pixels are judged at 16 x 16 places; the stages are 16 x 16 and 4 x 4; the vector is one place.
    assert [s.shape for s in scores] == [(16, 256), (16, 256), (16, 16), (16, 1)]


def test_every_head_is_equation_2(config: DiscriminatorConfig, images: torch.Tensor) -> None:
    torch.manual_seed(0)
    d = ProjectedDiscriminator(10, 32, config).eval()
    z = torch.randn(16, 10, requires_grad=True)
    scores, at_zero = d(images, z), d(images, torch.zeros(16, 10))
    for score, zero in zip(scores, at_zero, strict=True):
        (grad,) = torch.autograd.grad(score.mean(1).sum(), z, retain_graph=True)
        torch.testing.assert_close(score.mean(1), zero.mean(1) + (grad * z).sum(1), rtol=1e-3, atol=1e-4)
        assert grad.abs().max() > 1e-4


def test_heads_are_spectrally_normalised_by_default(config: DiscriminatorConfig) -> None:
    for on in (True, False):
        d = ProjectedDiscriminator(10, 32, replace(config, head_spectral_norm=on))
        assert any("parametrizations" in name for name in d.state_dict()) == on


def test_the_pixel_branch_sees_what_the_frozen_network_does_not(
    config: DiscriminatorConfig, images: torch.Tensor
) -> None:
    """One more score of the pixels alone, with its weight; its convolutions are trained."""
    torch.manual_seed(0)
    d = ProjectedDiscriminator(10, 32, replace(config, pixel_channels=4, pixel_weight=2.0))
    z = torch.randn(16, 10)
    scores = d(images, z)
    assert len(scores) == len(d.weights) == 5
    assert d.weights == [0.25] * 4 + [2.0]
    assert scores[-1].shape == (16, 256)
    torch.testing.assert_close(scores[-1], d.pixels(images, z))
    scores[-1].sum().backward()
    assert all(p.grad is not None for p in d.pixels.parameters())
    assert all(p.grad is None for p in d.heads.parameters())


def test_calibrated_maps_are_standardised_and_keep_brightness(
    config: DiscriminatorConfig, images: torch.Tensor
) -> None:
    d = ProjectedDiscriminator(10, 32, config)
    d.calibrate(images)
    vector = d.extract_features(images)[-1]
    live = vector.std(0) > 0.5  # a ReLU that is off for all images has no deviation to scale by
    torch.testing.assert_close(vector[:, live].mean(0), torch.zeros(int(live.sum())), rtol=0, atol=1e-4)
    torch.testing.assert_close(vector[:, live].std(0), torch.ones(int(live.sum())), rtol=1e-3, atol=1e-3)
    dark = d.extract_features(images * 0.3)[0]
    assert (dark - d.extract_features(images)[0]).abs().mean() > 0.2


def test_the_frozen_network_is_neither_trained_nor_saved(config: DiscriminatorConfig, images: torch.Tensor) -> None:
    d = ProjectedDiscriminator(10, 32, config)
    assert not any("network" in name for name in d.state_dict())
    pixels = images.clone().requires_grad_()
    torch.stack([s.sum() for s in d(pixels, torch.randn(16, 10))]).sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0
    assert all(p.grad is None for p in (*d.mixes, *d.downs))
    assert all(p.grad is not None for head in d.heads for p in head.parameters())


def test_the_mixes_are_a_function_of_the_seed(config: DiscriminatorConfig) -> None:
    a, b, c = (ProjectedDiscriminator(10, 32, config, seed) for seed in (0, 0, 1))
    assert all(torch.equal(x, y) for x, y in zip(a.mixes, b.mixes, strict=True))
    assert not torch.equal(a.mixes[0], c.mixes[0])


@pytest.mark.parametrize(
    ("maps", "message"),
    [(("stages.0", "stages.1"), "2 spatial maps among stages.0, stages.1, but 1 widths"), (("stages.9",), "stages.9")],
)
def test_wrong_maps_are_told(tiny_classifier_spec: str, maps: tuple[str, ...], message: str) -> None:
    config = DiscriminatorConfig("projected", network=tiny_classifier_spec, maps=maps, widths=(8,))
    with pytest.raises(UnlogitError, match=message):
        ProjectedDiscriminator(10, 32, config)
