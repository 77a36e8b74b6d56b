"""`small:`: the built-in network, its folder, and what happens when that is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from unlogit.classifiers import open_classifier
from unlogit.classifiers.small import Block, SmallConfig, SmallResNet, as_classifier, save_small
from unlogit.errors import UnlogitError

NAMES = ("cat", "dog", "owl")


def network(size: int = 32, seed: int = 0) -> SmallResNet:
    torch.manual_seed(seed)
    net = SmallResNet(SmallConfig(3, size, (8, 16, 32))).train()
    for _ in range(3):  # statistics unlike those of a fresh network
        net(torch.randn(16, 3, size, size))
    return net.eval()


def test_its_parameters_are_those_counted_by_hand() -> None:
    net = SmallResNet(SmallConfig(10, 32, (24, 48, 96)))
    stem = 3 * 24 * 9
    blocks = sum(
        2 * i + 2 * o + 9 * i * o + 9 * o * o + (i * o if i != o else 0) for i, o in ((24, 24), (24, 48), (48, 96))
    )
    head = 2 * 96 + 96 * 10 + 10
    assert sum(p.numel() for p in net.parameters()) == stem + blocks + head


@pytest.mark.parametrize("size", [32, 64, 128])
def test_the_stem_goes_to_sixteen_positions_and_each_stage_halves(size: int) -> None:
    c = as_classifier(network(size), NAMES, "test")
    found = c.features(torch.rand(2, 3, size, size), ["stem", "stages.0", "stages.1", "stages.2", "penultimate"])
    assert found["stem"].shape == (2, 8, 16, 16)
    assert [found[f"stages.{i}"].shape for i in range(3)] == [(2, 8, 16, 16), (2, 16, 8, 8), (2, 32, 4, 4)]
    assert found["penultimate"].shape == (2, 32) and found["logits"].shape == (2, 3)


def test_a_block_without_its_convolutions_is_the_identity() -> None:
    """Pre-activation: nothing stands on the shortcut's way, not even a ReLU."""
    block = Block(4, 4, 1).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(x), x)


def test_every_position_of_the_image_is_seen() -> None:
    c = as_classifier(network(), NAMES, "test")
    x = torch.rand(1, 3, 32, 32).requires_grad_()
    c(x).square().sum().backward()
    assert (x.grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("size", [32, 64])
def test_a_saved_folder_opens_as_the_same_classifier(tmp_path: Path, size: int) -> None:
    folder = tmp_path / "runs" / "classifier"
    net = network(size)
    save_small(folder, net, NAMES, {"fit": {"seconds": 3}})
    c = open_classifier(f"small:{folder}")
    x = torch.rand(4, 3, size, size)
    same = as_classifier(net, NAMES, f"small:{folder}")
    assert torch.equal(c(x), same(x))
    assert c.fingerprint() == same.fingerprint()
    assert (c.class_names, c.spec, c.penultimate) == (NAMES, f"small:{folder}", "head")
    assert c.preprocessing == same.preprocessing
    assert json.loads((folder / "config.json").read_text())["fit"] == {"seconds": 3}
    assert sorted(p.name for p in folder.parent.iterdir()) == ["classifier"]


def test_saving_again_replaces_a_classifier_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    save_small(folder, network(), NAMES, {})
    before = (folder / "model.safetensors").read_bytes()
    save_small(folder, network(seed=1), NAMES, {})
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() != before
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UnlogitError, match="unlogit did not write it"):
        save_small(folder, network(), NAMES, {})
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_failed_save_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save_small(tmp_path / "c", network(), NAMES, {"unwritable": object()})
    assert not list(tmp_path.iterdir())


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


DAMAGE = {
    "truncated weights": _truncate,
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "truncated config": lambda folder: (folder / "config.json").write_text('{"network": '),
    "another's config": lambda folder: (folder / "config.json").write_text('{"generator": {}}'),
    "a list": lambda folder: (folder / "config.json").write_text("[]"),
    "an unknown field": lambda folder: _edit(folder, network={"classes": 3, "depth": 2}),
    "other shapes": lambda folder: _edit(
        folder, network={"classes": 4, "size": 32, "widths": [8, 16, 32], "blocks": 1}
    ),
    "a wrong size": lambda folder: _edit(folder, network={"classes": 3, "size": 40, "widths": [8]}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    save_small(tmp_path / "c", network(), NAMES, {})
    DAMAGE[damage](tmp_path / "c")
    with pytest.raises(UnlogitError, match="classifier") as error:
        open_classifier(f"small:{tmp_path / 'c'}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rest", ["", "nowhere/at/all"])
def test_a_missing_folder_is_told_with_the_command_that_makes_it(rest: str) -> None:
    with pytest.raises(UnlogitError, match="give a folder that `unlogit classify` wrote"):
        open_classifier(f"small:{rest}")


@pytest.mark.parametrize("size", [16, 33, 48, 0])
def test_a_size_that_the_stem_cannot_take_is_refused(size: int) -> None:
    with pytest.raises(UnlogitError, match=f"size {size}: must be"):
        SmallConfig(3, size)
