"""Batch norms folded into convolutions: nothing but the speed changes, whatever the architecture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unlogit.classifiers import Classifier, Preprocessing, open_classifier
from unlogit.classifiers._fusing import FullPrecision
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


def test_strided_depthwise_convolutions_stay_in_full_precision_under_autocast() -> None:
    classifier, x = open_classifier("packaged:efficientnet_lite0").fused(), torch.rand(2, 3, 64, 64)
    modules = dict(classifier.network.named_modules())
    spared = [name for name, module in modules.items() if isinstance(module, FullPrecision)]
    assert len(spared) == 4
    for name in spared:
        found = classifier.features(x, [name])[name]
        with torch.autocast("cpu", torch.bfloat16):
            (cast := torch.rand(2, modules[name].module.in_channels, 9, 9).bfloat16()).requires_grad_()
            given = modules[name](cast)
        assert found.dtype == torch.float32
        assert given.dtype == torch.bfloat16
        exact = modules[name](cast.detach().float().requires_grad_())
        torch.testing.assert_close(given, exact.bfloat16())
        given.float().sum().backward()
        assert cast.grad is not None


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


def test_a_cache_of_representations_is_the_same_one(tmp_path: Path) -> None:
    save_small(tmp_path / "c", SmallResNet(SmallConfig(5, 32, (8, 8, 16))), tuple("abcde"), {})
    source, view = open_images("scenes:count=8"), View(32)
    for classifier in (open_classifier(f"small:{tmp_path}/c"), open_classifier(f"small:{tmp_path}/c").fused()):
        RepresentationCache(tmp_path / "cache", Representation(classifier), source, view)
    assert len(list((tmp_path / "cache").glob("*.rows"))) == 1
