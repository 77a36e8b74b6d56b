"""Keywords of `open_classifier`: they become options of a string, and are checked for a module."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError

CODE = """
import torch
from torch import nn

def make():
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 3))
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "a b&c").mkdir()
    (tmp_path / "a b&c" / "net.py").write_text(CODE)
    return f"python:{tmp_path}/a b&c/net.py:make"


def test_keywords_become_options_of_a_string(spec: str) -> None:
    opened = open_classifier(f"{spec}?size=64", mean=0.5, std=torch.tensor([0.25, 0.5, 1.0]))
    preprocessing = opened.preprocessing
    assert (preprocessing.size, preprocessing.mean, preprocessing.std) == (64, (0.5, 0.5, 0.5), (0.25, 0.5, 1.0))
    assert open_classifier(opened.spec).preprocessing == preprocessing
    assert open_classifier(spec, size=32).preprocessing.size == 32


def test_wrong_keywords_are_one_clear_line(spec: str) -> None:
    with pytest.raises(UnlogitError, match="give each option once"):
        open_classifier(f"{spec}?size=64", size=32)
    with pytest.raises(UnlogitError, match=r"mean \(1, 2\) of .* must be three numbers"):
        open_classifier(spec, mean=(1, 2))
    with pytest.raises(UnlogitError, match="size 16: must be at least 32"):
        open_classifier(spec, size=16)
    with pytest.raises(UnlogitError, match="size 16 of 'module:Linear': must be at least 32"):
        open_classifier(nn.Linear(3, 2), size=16)
