"""The contract of every classifier: preprocessing inside, frozen, read by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unlogit.classifiers import Classifier, Preprocessing, open_classifier
from unlogit.errors import UnlogitError


class Net(nn.Module):
    """Works in place after its first layer, as many networks do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.pair = Pair()
        self.fc = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.conv(x)))
        x, _ = self.pair(x)
        return self.fc(self.drop(x.mean((2, 3))))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def classifier(size: int | None = 16) -> Classifier:
    preprocessing = Preprocessing(size, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    return Classifier(Net().train(), preprocessing, [f"c{i}" for i in range(6)], "fc", "test:net")


def pixels(side: int = 16) -> Tensor:
    return torch.rand(5, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_pixels_are_normalised_inside() -> None:
    x = pixels()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3)))
    seen = classifier().prepare(x)
    assert torch.allclose(seen, (x - mean) / std, atol=1e-6)
    assert torch.equal(classifier()(x), Net().eval()(seen))


@pytest.mark.parametrize("side", [8, 16, 40])
def test_images_of_any_size_are_resized_inside(side: int) -> None:
    flat = torch.full((2, 3, side, side), 0.75)
    prepared = classifier().prepare(flat)
    assert prepared.shape == (2, 3, 16, 16)
    assert torch.allclose(prepared[:, 0], torch.tensor(1.25), atol=1e-5)


def test_without_a_size_images_are_left_as_they_are() -> None:
    assert classifier(None).prepare(pixels(12)).shape[-1] == 12


@pytest.mark.parametrize("bad", [torch.rand(2, 3, 8, 8) * 255, torch.rand(2, 1, 8, 8), torch.zeros(1, 3, 8, 8).byte()])
def test_what_is_no_image_is_refused(bad: Tensor) -> None:
    with pytest.raises(UnlogitError, match="classifier input"):
        classifier()(bad)


@pytest.mark.parametrize("side", [16, 32])
def test_gradients_reach_the_pixels_and_no_parameter(side: int) -> None:
    c = classifier()
    x = pixels(side).requires_grad_()
    c(x).square().sum().backward()
    assert x.grad is not None and (x.grad != 0).float().mean() > 0.5
    assert all(p.grad is None and not p.requires_grad for p in c.parameters())


def test_it_stays_in_evaluation_mode() -> None:
    c = classifier()
    before = c(pixels())
    c.train()
    assert not any(m.training for m in c.modules())
    assert torch.equal(c(pixels()), before)
    assert torch.equal(c.network.norm.running_mean, torch.zeros(4))


def test_features_are_those_of_the_named_modules_in_one_pass() -> None:
    c = classifier()
    x = pixels()
    found = c.features(x, ["conv", "norm", "act", "penultimate", "logits"])
    net = Net().eval()
    conv = net.conv(c.prepare(x))
    assert set(found) == {"conv", "norm", "act", "penultimate", "logits"}
    assert torch.equal(found["conv"], conv)
    norm = net.norm(conv)
    # What a module gave, although the next one overwrote it.
    assert torch.equal(found["norm"], norm) and found["norm"].min() < 0
    assert torch.equal(found["act"], norm.relu())
    assert torch.equal(found["penultimate"], norm.relu().mean((2, 3)))
    assert torch.equal(found["logits"], c(x))


def test_features_are_differentiable_and_leave_no_hook_behind() -> None:
    c = classifier()
    x = pixels().requires_grad_()
    c.features(x, ["norm"])["norm"].square().sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    with pytest.raises(UnlogitError):
        c.features(x, ["conv", "nothing"])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in c.modules())


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ("conw", r"unknown layer 'conw' of test:net: .*did you mean conv"),
        ("zzz", r"it has conv, norm, act, drop, pair, fc and what is in them"),
        ("pair", r"'pair' gives a tuple, not a tensor"),
    ],
)
def test_a_layer_that_cannot_be_tapped_is_one_clear_line(layer: str, told: str) -> None:
    with pytest.raises(UnlogitError, match=told) as error:
        classifier().features(pixels(), [layer])
    assert "\n" not in str(error.value)


def test_the_fingerprint_is_of_weights_and_preprocessing() -> None:
    assert classifier().fingerprint() == classifier().fingerprint()
    assert classifier().fingerprint() != classifier(24).fingerprint()
    other = classifier()
    other.network.fc.bias[0] += 1e-3
    assert other.fingerprint() != classifier().fingerprint()
    counted = classifier()
    counted.network.norm.num_batches_tracked += 1
    assert counted.fingerprint() != classifier().fingerprint()


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("efficientnet_lite0", "no source prefix: write it as source:name, with one of checkpoint:, .*timm:"),
        ("tim:resnet18", "unknown classifier prefix 'tim': .* Did you mean 'timm'"),
    ],
)
def test_a_spec_that_names_no_source_is_one_clear_line(spec: str, told: str) -> None:
    with pytest.raises(UnlogitError, match=told):
        open_classifier(spec)
