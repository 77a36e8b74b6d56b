"""What an opened classifier must keep to, and the one line for each way not to."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune, weight_norm

from unlogit.classifiers import Classifier, Preprocessing, load_classifier, open_classifier, probe
from unlogit.classifiers._base import random_images
from unlogit.classifiers._starts import save
from unlogit.errors import UnlogitError

PREPROCESSING = Preprocessing(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class Net(nn.Module):
    """A small network, whose last step is `end`."""

    def __init__(self, end: Callable[[Tensor], Tensor] = lambda x: x, classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.end = end
        self.conv = nn.Conv2d(3, 8, 3, 2)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, classes)

    def body(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu().mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.head(self.body(x)))


def classifier(network: nn.Module, classes: int = 5, head: str = "head") -> Classifier:
    return Classifier(network, PREPROCESSING, [f"c{i}" for i in range(classes)], head, "test:net")


def refusal(network: nn.Module, classes: int = 5, head: str = "head") -> str:
    """What the probe says of a network that it refuses."""
    torch.manual_seed(0)  # For what is random in it.
    with pytest.raises(UnlogitError) as error:
        probe(classifier(network, classes, head))
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
    return str(error.value)


class BatchStatistics(Net):
    def body(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return F.batch_norm(x, None, None, training=True).relu().mean((2, 3))


class Half(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.half())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            Net(functools.partial(F.dropout, p=0.1), 500),
            r"other logits for the same image each time.*F\.dropout\(x, training=",
        ),
        (Net(functools.partial(F.dropout, p=0.01), 500), "other logits for the same image each time"),
        (Net(lambda x: x + 0.1 * torch.randn_like(x)), "other logits for the same image each time"),
        (BatchStatistics(), "in a batch than for the image alone.*running statistics"),
        (Net(lambda x: x - x.mean(0)), "in a batch than for the image alone"),
        (Net(lambda x: x.softmax(1)), r"returns probabilities \(a softmax\), must be logits: leave out"),
        (Net(lambda x: x.exp() / x.exp().sum(1, keepdim=True)), "a softmax"),
        (Net(lambda x: x.log_softmax(1)), "log-softmax"),
        (Net(lambda x: x.sigmoid()[:, :]), r"probabilities \(a sigmoid\)"),
        (Net(classes=1), r"returns 1 logits per image, must be 2 or more: .*pair \(0, z\)"),
        (Net(classes=6), "has 6 logits, but 5 class names"),
        (Net(lambda x: x / 0), "non-finite logits .*its weights are finite"),
        (Net(lambda x: x.bfloat16()), "returns torch.bfloat16 for float32 images: must be torch.float32"),
        (Net(lambda x: x[None]), r"returns shape \(1, 2, 5\) for 2 images: must be logits, 2 x K"),
        (Net(lambda x: x.squeeze(0)), r"returns shape \(5,\) for 1 image: must be logits, 1 x K"),
        (Net(lambda x: x[2:]), r"returns shape \(0, 5\) for 2 images"),
        (Half(), "fails on 2 images of 32 px in float32 .*all its weights in float32"),
        (Net().to("meta"), "'conv.weight' is on the meta device, without values"),
    ],
)
def test_what_would_give_wrong_numbers_is_one_line(network: Net, message: str) -> None:
    said = refusal(network, classes=500 if network.head.out_features == 500 else 5)
    assert re.search(message, said), said


def test_weights_that_are_no_numbers_are_named() -> None:
    network = Net()
    network.conv.weight.data[0, 0, 0, 0] = torch.nan
    assert "its 'conv.weight' is not finite, load other weights" in refusal(network)


def test_batch_norms_without_running_statistics_are_refused() -> None:
    network = Net()
    network.norm = nn.BatchNorm2d(8, track_running_stats=False)
    assert "running statistics" in refusal(network)


def test_a_sound_network_passes_also_without_gradients() -> None:
    c = classifier(Net())
    with torch.no_grad():
        assert probe(c) is c
        assert not torch.is_grad_enabled()


class Foreign(Net):
    """Leaves torch on its way, so that it has no gradients."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(super().forward(x).numpy()).sigmoid() * 0.5


def test_a_network_without_gradients_passes() -> None:
    assert probe(classifier(Foreign())).class_names[0] == "c0"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_of_another_precision_is_converted(dtype: torch.dtype) -> None:
    c = probe(classifier(Net().to(dtype)))
    assert c(random_images(2, 32)).dtype == torch.float32
    torch.testing.assert_close(c(random_images(2, 32)), classifier(Net())(random_images(2, 32)), rtol=0.1, atol=0.01)


def _pruned(network: Net) -> Net:
    prune.l1_unstructured(network.conv, "weight", 0.5)
    return network


def _weight_normed(network: Net) -> Net:
    with pytest.warns(FutureWarning):
        weight_norm(network.conv)
    return network


def _parametrised(network: Net) -> Net:
    parametrizations.weight_norm(network.conv)
    return network


@pytest.mark.parametrize("change", [_pruned, _weight_normed, _parametrised])
def test_reparametrised_convolutions_are_probed_and_fused_as_they_are(change: Callable[[Net], Net]) -> None:
    c = probe(classifier(change(Net())))
    c.network.norm.running_var.fill_(3)
    x = random_images(3, 32)
    before = c(x)
    torch.testing.assert_close(c.fused()(x), before)
    assert isinstance(c.network.norm, nn.BatchNorm2d)


FILE = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))

def half():
    return net().half()

def probabilities():
    return nn.Sequential(net(), nn.Softmax(1))

def one():
    return nn.Sequential(net()[:4], nn.Linear(8, 1))

def headless_resnet():
    from torchvision.models import resnet18
    network = resnet18()
    network.fc = nn.Identity()
    return network

def headless_vit():
    import timm
    return nn.Sequential(timm.create_model("test_vit", num_classes=0))

def empty():
    return net().to("meta")
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own_networks.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("probabilities", "returns probabilities"),
        ("one", "returns 1 logits per image"),
        ("headless_resnet", "no classification head .*'layer4.1.bn2' comes after the last one with 512 outputs"),
        ("headless_vit", "no classification head .*'0.norm' comes after"),
        ("empty", "on the meta device"),
    ],
)
def test_a_network_of_one_s_own_is_probed(file: Path, factory: str, message: str) -> None:
    size = 160 if factory == "headless_vit" else 64
    with pytest.raises(UnlogitError, match=message) as error:
        open_classifier(f"python:{file}:{factory}?size={size}")
    assert "\n" not in str(error.value)


def test_half_precision_of_one_s_own_opens(file: Path) -> None:
    assert open_classifier(f"python:{file}:half?size=64")(random_images(2, 64)).dtype == torch.float32


@pytest.mark.parametrize(
    "name",
    [
        *("vit_small_patch14_dinov2", "vit_base_patch16_siglip_224", "eva02_tiny_patch14_224", "sam2_hiera_tiny"),
        *("naflexvit_base_patch16_siglip", "qwen3_vit_88m", "resnet50_clip"),
    ],
)
def test_timm_s_networks_that_are_no_classifiers_are_refused(name: str) -> None:
    with pytest.raises(UnlogitError, match="no classification head") as error:
        load_classifier(f"timm:{name}?pretrained=false")
    assert "\n" not in str(error.value)


def test_weights_of_clip_s_image_tower_are_refused_and_a_head_on_dinov2_opens(tmp_path: Path) -> None:
    clip = timm.create_model("vit_xsmall_patch16_clip_224", num_classes=512)
    save_file(clip.state_dict(), tmp_path / "clip.safetensors")
    with pytest.raises(UnlogitError, match="its 512 outputs embed images beside text"):
        open_classifier(f"checkpoint:{tmp_path}/clip.safetensors?arch=timm:vit_xsmall_patch16_clip_224")
    tuned = timm.create_model("eva02_tiny_patch14_224", num_classes=7)
    save_file(tuned.state_dict(), tmp_path / "tuned.safetensors")
    opened = open_classifier(f"checkpoint:{tmp_path}/tuned.safetensors?arch=timm:eva02_tiny_patch14_224")
    assert len(opened.class_names) == 7 and opened.penultimate == "head"


@pytest.mark.parametrize("damage", ["half", "bfloat16", "nan", "meta", "sparse"])
def test_checkpoints_of_half_precision_open_and_those_of_nan_do_not(tmp_path: Path, damage: str) -> None:
    weights = timm.create_model("test_resnet", num_classes=7).state_dict()
    if damage == "nan":
        weights["fc.bias"][2] = torch.nan
    elif damage == "meta":
        weights["fc.bias"] = weights["fc.bias"].to("meta")
    elif damage == "sparse":
        weights["fc.bias"] = weights["fc.bias"].to_sparse()
    else:
        weights = {k: v.to(getattr(torch, damage)) if v.is_floating_point() else v for k, v in weights.items()}
    torch.save(weights, tmp_path / "weights.pt")
    spec = f"checkpoint:{tmp_path}/weights.pt?arch=timm:test_resnet&size=64"
    if damage in ("half", "bfloat16"):
        assert open_classifier(spec)(random_images(2, 64)).dtype == torch.float32
        return
    with pytest.raises(UnlogitError) as error:
        open_classifier(spec)
    assert "\n" not in str(error.value)
    assert ("fc.bias" if damage == "nan" else "must be a state dict of tensors alone") in str(error.value)


def test_half_precision_of_transformers_opens(spec_of: Callable[[str], str], tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    folder = spec_of("transformers").partition(":")[2]
    AutoModelForImageClassification.from_pretrained(folder).half().save_pretrained(tmp_path)
    AutoImageProcessor.from_pretrained(folder).save_pretrained(tmp_path)
    assert open_classifier(f"transformers:{tmp_path}")(random_images(2, 32)).dtype == torch.float32


def test_a_network_derived_from_another_is_saved_as_what_it_is(tmp_path: Path) -> None:
    """Neither a subclass of the built-in network nor timm's with another forward opens as the plain one."""
    (tmp_path / "derived.py").write_text(DERIVED)
    for factory in ("small", "resnet"):
        spec = f"python:{tmp_path}/derived.py:{factory}?size=64"
        c = open_classifier(spec)
        save(tmp_path / factory, c, c.spec, {})
        again = open_classifier(f"fitted:{tmp_path / factory}", trust_code=True)
        x = random_images(2, 64)
        assert torch.equal(again(x), c(x))
        assert again.fingerprint() == c.fingerprint()


DERIVED = """
import timm, torch
from unlogit.classifiers.small import SmallConfig, SmallResNet

class Doubled(SmallResNet):
    def forward(self, x):
        return 2 * super().forward(x)

def small():
    return Doubled(SmallConfig(5, 64, (8, 8)))

def resnet():
    network = timm.create_model("test_resnet", num_classes=5)
    plain = network.forward
    network.forward = lambda x: 2 * plain(x)
    return network
"""
