"""Generator and discriminator: published sizes, exact rewrites, and an independent reading of equations 2 and 3."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unlogit.errors import UnlogitError
from unlogit.methods.biggan import DiscriminatorConfig, GeneratorConfig, layers
from unlogit.methods.biggan.discriminator import Discriminator
from unlogit.methods.biggan.generator import Generator, folded, standing_statistics
from unlogit.methods.biggan.layers import (
    Attention,
    ConditionalBatchNorm,
    Normalise,
    SpectralNorm,
    conv,
    conv_downsampled,
    linear,
    upsampled_conv,
)

SMALL = GeneratorConfig(size=32, channels=8, noise=16, attention=16)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_class_conditional_128_px_form_has_the_published_sizes() -> None:
    """BigGAN at 128 px, ch 96, 1,000 classes, as published with compare_gan."""
    config = GeneratorConfig(size=128, channels=96, embedding=128, hidden=None, attention=64)
    with torch.device("meta"):
        generator = Generator(1000, replace(config, spectral_norm=False))
        discriminator = Discriminator(1000, 128, DiscriminatorConfig(channels=96, attention=64))
    assert count(generator) == 70_433_988
    assert count(discriminator) == 87_982_370


@pytest.mark.parametrize("size", [32, 64, 128])
def test_shapes_and_ranges_at_every_resolution(size: int) -> None:
    torch.manual_seed(0)
    noise = 4 * len(GeneratorConfig(size=size, noise=120).widths)
    config = GeneratorConfig(size=size, channels=8, noise=noise, attention=16)
    generator = Generator(10, config)
    images = generator(torch.randn(3, 10), torch.randn(3, noise))
    assert images.shape == (3, 3, size, size)
    assert 0 <= images.min() and images.max() <= 1
    (scores,) = Discriminator(10, size, DiscriminatorConfig(channels=8, attention=16))(images, torch.randn(3, 10))
    assert scores.shape == (3,)


def test_networks_run_without_data_to_be_counted() -> None:
    with torch.device("meta"):
        images = Generator(10, SMALL)(torch.randn(40, 10), torch.randn(40, 16))
        (scores,) = Discriminator(10, 32, DiscriminatorConfig(channels=8, attention=16))(images, torch.randn(40, 10))
    assert scores.shape == (40,)
    assert scores.device.type == "meta"


def test_wrong_shapes_are_told() -> None:
    with pytest.raises(UnlogitError, match="image size 48: must be one of 32, 64, 128"):
        GeneratorConfig(size=48)
    with pytest.raises(UnlogitError, match="multiple of 5"):
        GeneratorConfig(size=64, noise=119)
    with pytest.raises(UnlogitError, match="image size 7"):
        Generator(10, GeneratorConfig(size=32, channels=8, noise=16, attention=7))


def test_upsampling_and_convolution_fold_exactly() -> None:
    torch.manual_seed(0)
    layer = conv(6, 5, 3, spectral_norm=False).double()
    nn.init.normal_(layer.bias)
    for side in (8, 32):  # What is too small is not folded.
        x = torch.randn(2, 6, side, side, dtype=torch.double)
        assert layers.folds(x) is (side == 32)
        with patch.object(F, "conv_transpose2d", wraps=F.conv_transpose2d) as folded_conv:
            found = upsampled_conv(x, layer)
        assert folded_conv.called is (side == 32)
        torch.testing.assert_close(found, layer(F.interpolate(x, scale_factor=2)))


def test_convolution_and_pooling_fold_exactly() -> None:
    torch.manual_seed(0)
    layer = conv(6, 5, 3, spectral_norm=False).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 6, 8, 8, dtype=torch.double)
    torch.testing.assert_close(conv_downsampled(x, layer), F.avg_pool2d(layer(x), 2))


def test_conditional_batch_norm_is_equation_3() -> None:
    torch.manual_seed(0)
    norm = ConditionalBatchNorm(4, 7, hidden=16)
    for layer in (norm.gamma, norm.beta):
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    y, condition = torch.randn(6, 4, 5, 5) * 3 + 1, torch.randn(6, 7)
    hidden = (condition @ norm.hidden[0].weight.T + norm.hidden[0].bias).clamp(min=0)
    gamma = 1 + hidden @ norm.gamma.weight.T + norm.gamma.bias
    beta = hidden @ norm.beta.weight.T + norm.beta.bias
    mean = y.mean((0, 2, 3), keepdim=True)
    deviation = ((y - mean).square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    expected = gamma[:, :, None, None] * (y - mean) / deviation + beta[:, :, None, None]
    torch.testing.assert_close(norm(y, condition), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_batch_norm_over_ranks_is_batch_norm(dtype: torch.dtype, close: float) -> None:
    """Of one rank; a training on two is compared with one on one elsewhere."""
    torch.manual_seed(0)
    inputs, grad = torch.randn(8, 5, 4, 4) * 3 + 2, torch.randn(8, 5, 4, 4).to(dtype)
    ours, torch_s = (inputs.to(dtype).requires_grad_() for _ in range(2))
    found, expected = layers._SyncedNorm.apply(ours, 1e-5), F.batch_norm(torch_s, None, None, training=True)
    found.backward(grad)
    expected.backward(grad)
    torch.testing.assert_close(found, expected, rtol=close, atol=close)
    torch.testing.assert_close(ours.grad, torch_s.grad, rtol=close, atol=close)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-9), (torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
def test_large_maps_are_modulated_as_small_ones_are(
    dtype: torch.dtype, close: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    norm, shape = Normalise(16), (3, 16, 64, 64)
    drawn = torch.randn(shape) * 3 + 1, 1 + torch.randn(shape[:2]) / 3, torch.randn(shape[:2]), torch.randn(shape)
    y, gain, bias, grad = (t.to(dtype) for t in drawn)
    inputs = [t.requires_grad_() for t in (y.contiguous(memory_format=torch.channels_last), gain, bias)]
    assert layers._large(y)
    found = norm.modulated(*inputs)
    found_slopes = torch.autograd.grad(found, inputs, grad)
    assert found.dtype == dtype and found.is_contiguous(memory_format=torch.channels_last)

    exact = [t.detach().double().requires_grad_() for t in inputs]
    monkeypatch.setattr(layers, "_large", lambda _: False)
    expected = norm.modulated(*exact)
    expected_slopes = torch.autograd.grad(expected, exact, grad.double())
    for ours, theirs in zip((found, *found_slopes), (expected, *expected_slopes), strict=True):
        assert (ours.double() - theirs).abs().max() < close * theirs.abs().max()


def test_discriminator_is_equation_2() -> None:
    """D(x, z) = (w1 + W2 z) . Psi(x): affine in z, and its slope in z is W2' Psi(x)."""
    torch.manual_seed(0)
    d = Discriminator(5, 32, DiscriminatorConfig(channels=8, attention=None)).eval()
    x, z = torch.rand(3, 3, 32, 32), torch.randn(3, 5, requires_grad=True)
    (scores,) = d(x, z)
    (grad,) = torch.autograd.grad(scores.sum(), z)
    (at_zero,) = d(x, torch.zeros(3, 5))
    torch.testing.assert_close(scores, at_zero + (grad * z).sum(1), rtol=1e-4, atol=1e-4)
    assert grad.abs().max() > 1e-3


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3, 3)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_spectral_norm_has_the_value_and_gradient_of_torch_s(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    weight, grad = torch.randn(shape, dtype=torch.double), torch.randn(shape, dtype=torch.double)
    if weight.ndim == 4:
        weight, grad = weight.to(memory_format=layout), grad.to(memory_format=torch.channels_last)
    weight.requires_grad_()
    torch_s = nn.Linear(1, 1, bias=False)
    torch_s.weight = nn.Parameter(weight.detach().contiguous().clone())
    nn.utils.parametrizations.spectral_norm(torch_s, n_power_iterations=500)
    ours = SpectralNorm(weight)
    for _ in range(500):
        normalised = ours(weight)
    torch.testing.assert_close(normalised, torch_s.weight)
    normalised.backward(grad)
    torch_s.weight.backward(grad)
    torch.testing.assert_close(weight.grad, torch_s.parametrizations.weight.original.grad)
    torch.testing.assert_close(ours.eval()(weight), normalised)


def test_spectral_norms_are_at_most_one() -> None:
    torch.manual_seed(0)
    d = Discriminator(5, 32, DiscriminatorConfig(channels=8, attention=16)).train()
    for _ in range(20):
        d(torch.rand(2, 3, 32, 32), torch.randn(2, 5))
    for module in d.eval().modules():
        if nn.utils.parametrize.is_parametrized(module):
            sigma = torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)
            assert 0.8 < float(sigma) < 1.05


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_spectral_norms_are_taken_in_full_precision_under_autocast(device: str) -> None:
    torch.manual_seed(0)
    layer = linear(64, 48, spectral_norm=True).to(device)
    (norm,) = layer.parametrizations.weight
    start = norm._u.clone(), norm._v.clone()
    expected = layer.weight.detach()
    norm._u, norm._v = start
    with torch.autocast(device, torch.bfloat16):
        found = layer.weight.detach()
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batch_norm_takes_its_gain_and_bias_in_one(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    norm, x = Normalise(4), (torch.randn(6, 4, 5, 5) * 3 + 1).to(dtype)
    gain, bias = torch.randn(4, requires_grad=True), torch.randn(4, requires_grad=True)
    apart = norm(x).float() * gain.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)
    together = norm(x, gain, bias)
    assert together.dtype == dtype
    close = {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(together.float(), apart, **close)
    grad = torch.randn_like(apart)
    expected, found = (torch.autograd.grad(y, (gain, bias), grad.to(y.dtype)) for y in (apart, together))
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=0.1)


def test_standing_statistics_equal_the_average_over_batches() -> None:
    torch.manual_seed(0)
    generator = Generator(10, SMALL)
    batches = [(torch.randn(8, 10), torch.randn(8, 16)) for _ in range(3)]
    seen: list[torch.Tensor] = []
    first = generator.blocks[0].norm1.normalise
    handle = first.register_forward_pre_hook(lambda _m, args: seen.append(args[0].detach()))
    standing_statistics(generator, batches)
    handle.remove()
    torch.testing.assert_close(first.mean, torch.stack([s.mean((0, 2, 3)) for s in seen]).mean(0))
    expected = torch.stack([s.var((0, 2, 3), correction=0) for s in seen]).mean(0)
    torch.testing.assert_close(first.var, expected, rtol=1e-4, atol=1e-5)
    assert generator.training and all(m.training for m in generator.modules() if isinstance(m, Normalise))


def test_evaluation_does_not_depend_on_the_rest_of_the_batch() -> None:
    torch.manual_seed(0)
    generator = Generator(10, SMALL)
    standing_statistics(generator, [(torch.randn(16, 10), torch.randn(16, 16))])
    generator.eval()
    condition, noise = torch.randn(4, 10), torch.randn(4, 16)
    alone = torch.cat([generator(condition[i : i + 1], noise[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(generator(condition, noise), alone, rtol=1e-4, atol=1e-5)


def test_every_noise_chunk_reaches_the_image() -> None:
    torch.manual_seed(0)
    generator = Generator(10, SMALL)
    noise = torch.randn(4, 16, requires_grad=True)
    generator(torch.randn(4, 10), noise).square().sum().backward()
    assert (noise.grad.view(4, 4, 4).abs().amax((0, 2)) > 0).all()


def test_folding_spectral_norm_changes_nothing() -> None:
    torch.manual_seed(0)
    config = GeneratorConfig(32, channels=4, noise=8, attention=16)
    generator = Generator(10, config)
    for _ in range(3):
        generator(torch.randn(4, 10), torch.randn(4, 8))
    batches = [(torch.randn(8, 10), torch.randn(8, 8))]
    standing_statistics(generator, batches)
    plain = folded(generator)
    condition, noise = torch.randn(2, 10), torch.randn(2, 8)
    torch.testing.assert_close(plain(condition, noise), generator.eval()(condition, noise), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("condition_first", [False, True])
def test_the_first_layer_sees_the_representation_where_asked(condition_first: bool) -> None:
    torch.manual_seed(0)
    generator = Generator(10, replace(SMALL, condition_first=condition_first))
    seen: list[torch.Tensor] = []
    generator.first.register_forward_hook(lambda _m, _args, output: seen.append(output))
    noise = torch.randn(1, 16).expand(4, 16)
    generator(torch.randn(4, 10), noise)
    assert (seen[0].std(0).max() > 1e-3) == condition_first


def test_attention_over_too_few_channels_is_refused() -> None:
    with pytest.raises(UnlogitError, match="attention over 4 channels: must be at least 8"):
        Attention(4, spectral_norm=False)


@pytest.mark.parametrize(("length", "share"), [(4, 1 / 2), (100, 1 / 10)])
def test_a_scaled_projection_is_divided_by_the_root_of_the_representation_s_length(length: int, share: float) -> None:
    def network(scaled: bool) -> Discriminator:
        torch.manual_seed(0)
        config = DiscriminatorConfig(channels=8, attention=None, scale_projection=scaled)
        return Discriminator(length, 32, config).eval()

    x, z = torch.rand(3, 3, 32, 32), torch.randn(3, length)
    whole, scaled = network(False), network(True)
    (without,) = whole(x, torch.zeros_like(z))
    torch.testing.assert_close(scaled(x, z)[0] - without, share * (whole(x, z)[0] - without), rtol=1e-4, atol=1e-5)


def test_a_spatial_map_enters_where_it_has_its_resolution_and_keeps_where_things_are() -> None:
    torch.manual_seed(0)
    generator = Generator(3 * 6 * 6, replace(SMALL, map=(3, 6, 6), embedding=5)).eval()
    seen: list[torch.Tensor] = []
    generator.entering_map.register_forward_hook(lambda _m, _args, output: seen.append(output))
    maps, noise = torch.randn(2, 3, 6, 6), torch.randn(2, 16)
    images = generator(maps.flatten(1), noise)
    # The first block of at least 6 x 6 is the second, which begins with 8 x 8.
    assert seen[0].shape == (2, 64, 8, 8) and images.shape == (2, 3, 32, 32)
    # The mean over positions, which conditions, is that of the mirrored map: only the place where it enters differs.
    assert (generator(maps.flip(3).flatten(1), noise) - images).abs().max() > 1e-3


def test_a_map_of_another_shape_is_refused() -> None:
    with pytest.raises(
        UnlogitError, match=r"generator.map \(3, 6, 6\): holds 108 values, the representation 100; give"
    ):
        Generator(100, replace(SMALL, map=(3, 6, 6)))
    with pytest.raises(UnlogitError, match="sides must be at most 16"):
        replace(SMALL, map=(3, 32, 32))
