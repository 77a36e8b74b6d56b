"""Digests of what decides an output: equal for the same, another one for each thing that could change it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unlogit.classifiers import load_classifier
from unlogit.identity import code_digest, library_versions, module_identity

SOURCE = """
import torch
from torch import nn
from torch.nn import functional as F

FACTOR = 1.0

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 3)
        self.act = F.relu
        self.temperature = 1.0
        self.offset = torch.zeros(1)
        self.register_buffer("scale", torch.ones(1), persistent=False)

    def forward(self, x):
        return self.head(self.act(self.conv(x)).mean((2, 3))) * FACTOR * self.temperature * self.scale + self.offset

def net():
    return Net()
"""


@pytest.fixture
def fingerprint(tmp_path: Path) -> Callable[..., str]:
    """The fingerprint of a network whose file, or itself, is changed."""

    def opened(old: str = "", new: str = "", change: Callable[[nn.Module], object] = lambda _: None) -> str:
        file = tmp_path / "net_of_identity.py"
        file.write_text(SOURCE.replace(old, new) if old else SOURCE)
        classifier = load_classifier(f"python:{file}:net?size=32")
        change(classifier.network)
        return classifier.fingerprint()

    return opened


class Other(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).abs()


def retyped(network: nn.Module) -> None:
    network.conv.__class__ = Other


def patched(network: nn.Module) -> None:
    network.conv.forward = lambda x: 2 * x


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("FACTOR = 1.0", "FACTOR = 1.5", None),
        (".mean((2, 3))", ".amax((2, 3))", None),
        ("F.relu", "F.gelu", None),
        ("", "", retyped),
        ("", "", patched),
        ("", "", lambda n: setattr(n, "temperature", 2.0)),
        ("", "", lambda n: setattr(n, "act", torch.tanh)),
        ("", "", lambda n: n.offset.add_(1)),
        ("", "", lambda n: n.scale.add_(1)),
        ("", "", lambda n: n.head.bias.add_(1e-3)),
        ("", "", lambda n: setattr(n.conv, "stride", (2, 2))),
        ("", "", lambda n: setattr(n, "extra", nn.Identity())),
    ],
)
def test_whatever_changes_the_output_changes_the_fingerprint(
    fingerprint: Callable[..., str], old: str, new: str, change: Callable[[nn.Module], object] | None
) -> None:
    plain = fingerprint()
    assert fingerprint() == plain
    assert fingerprint(old, new, change or (lambda _: None)) != plain


def test_mode_and_place_change_nothing(fingerprint: Callable[..., str]) -> None:
    assert fingerprint(change=lambda n: n.train()) == fingerprint()
    assert fingerprint(change=lambda n: n.to(memory_format=torch.channels_last)) == fingerprint()
    assert fingerprint(change=lambda n: n(torch.rand(1, 3, 8, 8))) == fingerprint()


def test_a_module_can_be_left_out_and_a_name(fingerprint: Callable[..., str]) -> None:
    whole = nn.Module()
    whole.inner, whole.name, whole.rest = nn.Linear(2, 2), "a", nn.Linear(2, 2)
    before = module_identity(whole, without=whole.inner, unnamed=True)
    whole.name = "b"
    nn.init.zeros_(whole.inner.weight)
    assert module_identity(whole, without=whole.inner, unnamed=True) == before
    nn.init.zeros_(whole.rest.weight)
    assert module_identity(whole, without=whole.inner, unnamed=True) != before


def test_the_code_s_digest_is_of_the_parts_named_and_the_versions_of_what_is_installed() -> None:
    assert (
        len({code_digest(), code_digest("images"), code_digest("attacks.py"), code_digest("attacks.py", "images")}) == 4
    )
    assert code_digest("images", "attacks.py") == code_digest("attacks.py", "images")
    assert f"torch {metadata.version('torch')}" in library_versions()
    assert library_versions().startswith(f"python {sys.version_info.major}.")
