"""The paper's three networks and the two that it asks for, of random weights: each opens, classifies and can be read.

Section 6 of Teterwak et al. 2021 asks for Vision Transformers and MLP-Mixers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from unlogit.classifiers import Classifier, open_classifier
from unlogit.representation import Representation

NETWORKS = {
    "ResNet-152-V2": ("timm:resnetv2_152?pretrained=false", 224, 2048, ("stages.3.blocks.2", 2048)),
    "Inception-V3": ("torchvision:inception_v3?pretrained=false", 299, 2048, ("Mixed_7c", 2048)),
    "Vision Transformer": ("timm:vit_small_patch32_224?pretrained=false", 224, 384, ("blocks.11?reduce=first", 384)),
    "MLP-Mixer": ("timm:mixer_s32_224?pretrained=false", 224, 512, ("blocks.7", 512)),
}


@pytest.fixture(scope="module")
def opened() -> Callable[[str], Classifier]:
    """Each classifier opened once."""
    return functools.cache(open_classifier)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_opens_classifies_and_is_tapped(name: str, opened: Callable[[str], Classifier]) -> None:
    spec, size, penultimate, (layer, length) = NETWORKS[name]
    c = opened(spec)
    assert c.preprocessing.size == size and len(c.class_names) == 1000
    with torch.no_grad():
        found = c.features(torch.rand(1, 3, 64, 64), ["penultimate", layer.partition("?")[0]])
    assert found["logits"].shape == (1, 1000) and found["logits"].isfinite().all()
    head = c.network.get_submodule(c.penultimate)
    logits = head(found["penultimate"]).flatten(1)
    torch.testing.assert_close(logits, found["logits"])
    assert found["penultimate"].flatten(1).shape == (1, penultimate)
    assert Representation(c, layer).dim == length


def test_resnet_152_v2_is_the_one_that_its_paper_counts() -> None:
    # He et al. 2016b: 152 layers, 60.2 million parameters.
    with torch.device("meta"):
        network = timm.create_model("resnetv2_152")
    convolutions = [m for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and "downsample" not in n]
    assert len(convolutions) == 152
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(60.2e6, rel=0.01)


def test_inception_sees_pixels_in_its_own_normalisation(opened: Callable[[str], Classifier]) -> None:
    """From -1 to 1, whatever normalisation the weights' transforms ask for; at 299 pixels."""
    c = opened("torchvision:inception_v3?pretrained=false")
    seen = []
    hook = c.network.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.rand(1, 3, 299, 299)
    c(x)
    hook.remove()
    torch.testing.assert_close(seen[0], 2 * x - 1, rtol=0, atol=1e-5)
    assert not any("Aux" in name for name, _ in c.network.named_modules())


def test_a_robust_resnet_50_gives_what_its_network_gives(
    like_madry: Callable[[nn.Module, Path], None], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = models.resnet50()
    like_madry(network, tmp_path / "resnet50_l2_eps3.ckpt")
    c = open_classifier(f"madry:{tmp_path / 'resnet50_l2_eps3.ckpt'}")
    assert c.preprocessing.size == 224 and c.class_names[1].startswith("goldfish")
    x = torch.rand(1, 3, 224, 224)
    own = (x - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / 0.25
    torch.testing.assert_close(c(x), network.eval()(own))
    assert c.penultimate == "fc" and Representation(c, "penultimate").dim == 2048
