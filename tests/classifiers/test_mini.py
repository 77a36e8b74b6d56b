"""Small networks of five architectures: what differs between them, and that each can be trained and opened again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unlogit.classifier_training import FitConfig, fit
from unlogit.classifiers import open_classifier
from unlogit.classifiers.mini import NETWORKS, PlainBlock, names
from unlogit.classifiers.small import Block
from unlogit.errors import UnlogitError


@pytest.mark.parametrize("name", names())
def test_a_trained_network_opens_again(name: str, tmp_path: Path) -> None:
    start = f"mini:{name}?seed=1"
    config = FitConfig(
        tmp_path / "c", start=start, num_images=64, num_test_images=8, num_attacked_images=2, checkpoint_every=64
    )
    assert 0 <= fit(config)["clean"]["accuracy"] <= 1
    opened, begun = open_classifier(config.spec), open_classifier(start)
    assert opened.spec.startswith("fitted:") and len(opened.class_names) == 10
    assert opened.weights_fingerprint() != begun.weights_fingerprint()
    assert sum(p.numel() for p in opened.parameters()) == sum(p.numel() for p in begun.parameters())


def test_the_plain_network_is_as_deep_and_has_no_shortcuts() -> None:
    residual, plain = NETWORKS["resnet"](10), NETWORKS["plain"](10)
    blocks = [[m for m in network.modules() if isinstance(m, Block)] for network in (residual, plain)]
    assert len(blocks[0]) == len(blocks[1]) == 6
    assert all(type(b) is PlainBlock and not hasattr(b, "shortcut") for b in blocks[1])
    kept = {name: value.shape for name, value in residual.state_dict().items() if ".shortcut." not in name}
    assert kept == {name: value.shape for name, value in plain.state_dict().items()}


def test_the_seed_decides_the_weights() -> None:
    weights = [open_classifier(f"mini:resnet?seed={seed}").weights_fingerprint() for seed in (0, 0, 1)]
    assert weights[0] == weights[1] != weights[2]
    assert open_classifier("mini:resnet").weights_fingerprint() == weights[0]


@pytest.mark.parametrize(
    ("option", "allowed"),
    [
        ("logits=1", "logits 1: must be at least 2"),
        ("logits=ten", "must be a whole number"),
        ("seed=-1", "seed -1: must not be negative"),
        ("seed=99999999999", "must be at most 4,294,967,295"),
    ],
)
def test_a_wrong_number_says_what_is_allowed(option: str, allowed: str) -> None:
    with pytest.raises(UnlogitError, match=f"{option}'.*: {allowed}"):
        open_classifier(f"mini:resnet?{option}")


def test_the_class_token_of_the_vit_is_its_penultimate_layer() -> None:
    opened = open_classifier("mini:vit")
    found = opened.features(
        torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), ["norm", "penultimate"]
    )
    assert found["norm"].shape == (2, 65, 128)
    assert torch.allclose(found["norm"][:, 0], found["penultimate"], atol=1e-6)
