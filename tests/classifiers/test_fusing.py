"""Batch norms folded into convolutions: nothing but the speed changes, whatever the architecture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unlogit.classifiers import Classifier, Preprocessing, open_classifier
from unlogit.classifiers._fusing import StridedDepthwise, _Strided
from unlogit.classifiers.small import SmallConfig, SmallResNet, as_classifier, save_small
from unlogit.images import View, open_images
from unlogit.representation import Representation, RepresentationCache


def norms(classifier: Classifier) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in classifier.modules())


def lively(classifier: Classifier) -> Classifier:
    """In double precision, with statistics that a fold could get wrong."""
    generator = torch.Generator().manual_seed(0)
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low in ((module.running_mean, -0.5), (module.running_var, 0.5), (module.weight, 0.5)):
                assert value is not None
                value.copy_(torch.rand(value.shape, generator=generator) + low)
            module.bias.copy_(torch.rand(module.bias.shape, generator=generator) - 0.5)
    return classifier.double()


def pixels(side: int) -> Tensor:
    return torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def small() -> Classifier:
    torch.manual_seed(0)
    return as_classifier(SmallResNet(SmallConfig(5, 32, (8, 8, 16))), tuple("abcde"), "small:none")


@pytest.mark.parametrize(
    ("spec", "side", "module", "left"),
    [
        ("packaged:efficientnet_lite0", 64, "blocks.3", 0),
        ("timm:resnetv2_50?pretrained=false", 64, "stages.1", 17),  # Before the first convolution of a block, and last.
        ("timm:resnet10t?pretrained=false", 64, "layer2", 0),
        ("torchvision:resnet18?pretrained=false", 64, "layer3", 0),
        ("torchvision:densenet121?pretrained=false", 64, "features.denseblock2", 62),
        ("timm:vit_tiny_patch16_224?pretrained=false", 64, "blocks.2", 0),
    ],
)
def test_outputs_and_features_stay(spec: str, side: int, module: str, left: int) -> None:
    classifier = lively(open_classifier(spec))
    x = pixels(side)
    before = classifier.features(x, [module, "penultimate"])
    fingerprint = classifier.fingerprint()
    after = classifier.fused().features(x, [module, "penultimate"])
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=1e-9, atol=1e-9)
    assert norms(classifier) == left
    assert classifier.fingerprint() == fingerprint


def test_gradients_with_respect_to_pixels_stay() -> None:
    classifier, x = lively(small()), pixels(32).requires_grad_()
    (before,) = torch.autograd.grad(classifier(x).square().sum(), x)
    count = norms(classifier)
    (after,) = torch.autograd.grad(classifier.fused()(x).square().sum(), x)
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)
    assert norms(classifier) < count


def test_a_convolution_that_is_tapped_is_kept() -> None:
    classifier, x = lively(small()), pixels(32)
    name = "stages.0.0.conv1"
    before = classifier.features(x, [name])[name]
    after = classifier.fused([name]).features(x, [name])[name]
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"), [(3, 2, 1, 1), (5, 2, 0, 1), (4, 3, 2, 1), (3, 2, 2, 2)]
)
@pytest.mark.parametrize("side", [9, 12])
def test_the_gradient_of_a_strided_depthwise_convolution_is_exact(
    kernel: int, stride: int, padding: int, dilation: int, side: int
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups=4).double().requires_grad_(False)
    x = torch.rand(2, 4, side, side, dtype=torch.float64, requires_grad=True)
    own = _Strided.apply(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
    torch.testing.assert_close(own, layer(x))
    # Differentiated twice, as in gradient penalties.
    first = [torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)[0] for y in (own, layer(x))]
    second = [torch.autograd.grad(grad.square().sum(), x)[0] for grad in first]
    torch.testing.assert_close(*first)
    torch.testing.assert_close(*second)


@pytest.mark.parametrize("side", [9, 12])
def test_strided_depthwise_convolutions_give_the_same_under_autocast(side: int) -> None:
    classifier = open_classifier("packaged:efficientnet_lite0").fused()
    strided = [m for m in classifier.modules() if isinstance(m, StridedDepthwise)]
    assert len(strided) == 4
    for layer in strided:
        x = torch.rand(2, layer.convolution.in_channels, side, side, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16):
            fast = layer(x)
        plain = layer(x)
        assert (fast.dtype, plain.dtype) == (torch.bfloat16, torch.float32)
        assert _relative(fast.float(), plain) < 0.01  # bf16 has 8 bits.
        weight = torch.rand_like(plain)
        gradients = [torch.autograd.grad((y.float() * weight).sum(), x)[0] for y in (fast, plain)]
        assert _relative(*gradients) < 0.01


@torch.no_grad()
def _relative(found: Tensor, expected: Tensor) -> float:
    """Return the size of the difference as a share of the size of the expected values."""
    return float((found - expected).norm() / expected.norm())


class Tricky(nn.Module):
    """Pairs that look right by their names and must not be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(3, 4, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(4)
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(4)
        self.unused = nn.Conv2d(4, 4, 1)
        self.norm3 = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.shared(x)
        x = self.norm1(stem) + stem  # Read by two.
        x = self.norm2(self.twice(self.twice(x)))  # Run twice.
        return self.head(self.norm3(x).mean((2, 3)))  # The convolution before is not run.


def test_what_is_read_twice_or_run_twice_is_left_alone() -> None:
    torch.manual_seed(0)
    preprocessing = Preprocessing(None, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    classifier = lively(Classifier(Tricky(), preprocessing, ("a", "b"), "head", "test:tricky"))
    before = classifier(pixels(16))
    torch.testing.assert_close(classifier.fused()(pixels(16)), before, rtol=1e-9, atol=1e-9)
    assert norms(classifier) == 3


class Standardised(nn.Conv2d):
    """A convolution under the plain one's name that uses its weights in another way."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / self.weight.std((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight, self.bias)


Standardised.__name__ = Standardised.__qualname__ = "Conv2d"


class Norm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).abs()


class Pair(nn.Module):
    """A convolution and a batch norm."""

    def __init__(self, convolution: type[nn.Conv2d] = nn.Conv2d, norm: type[nn.BatchNorm2d] = nn.BatchNorm2d) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = convolution(3, 4, 3, padding=1)
        self.norm = norm(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).mean((2, 3)))


def with_hook(module: str, kind: str) -> Pair:
    network = Pair()
    part = network.get_submodule(module)
    if kind == "forward":
        plain = part.forward
        part.forward = lambda x: 2 * plain(x)  # type: ignore[method-assign]
    elif kind == "pre-hook":
        part.register_forward_pre_hook(lambda _module, args: (2 * args[0],))
    else:
        part.register_forward_hook(lambda _module, _args, output: 2 * output)
    return network


class Twin(Pair):
    """Runs its convolution by another name than its first."""

    def __init__(self) -> None:
        super().__init__()
        self.same = self.conv

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.same(x)).mean((2, 3)))


class Detached(Pair):
    """Reads a convolution's output once more, where autograd does not see it."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.head(self.norm(x).mean((2, 3))) + x.detach().mean((1, 2, 3))[:, None]


class Peeking(Pair):
    """Reads its batch norm's statistics."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.norm.running_var.mean()


@pytest.mark.parametrize(
    "network",
    [
        Pair(Standardised),
        Pair(norm=Norm),
        *(with_hook(module, kind) for module in ("conv", "norm") for kind in ("hook", "pre-hook", "forward")),
        Twin(),
        Detached(),
        Peeking(),
    ],
)
def test_a_network_that_fusing_would_change_is_left_as_it_is(network: Pair) -> None:
    preprocessing = Preprocessing(None, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    classifier = lively(Classifier(network, preprocessing, ("a", "b"), "head", "test:pair"))
    modules = list(classifier.modules())
    before = classifier(pixels(16))
    torch.testing.assert_close(classifier.fused()(pixels(16)), before, rtol=1e-9, atol=1e-9)
    assert list(classifier.modules()) == modules


def test_a_cache_of_representations_is_the_same_one(tmp_path: Path) -> None:
    save_small(tmp_path / "c", SmallResNet(SmallConfig(5, 32, (8, 8, 16))), tuple("abcde"), {})
    source, view = open_images("scenes:count=8"), View(32)
    for classifier in (open_classifier(f"small:{tmp_path}/c"), open_classifier(f"small:{tmp_path}/c").fused()):
        RepresentationCache(tmp_path / "cache", Representation(classifier), source, view)
    assert len(list((tmp_path / "cache").glob("*.rows"))) == 1
