"""A widened generator computes what the narrower one does, and its copies do not stay equal."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from unlogit.methods.biggan.config import GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.methods.biggan.widening import widened

PLAIN = GeneratorConfig(size=32, channels=2, noise=8, embedding=None, hidden=8, attention=None, spectral_norm=False)


@pytest.mark.parametrize("channels", [2, 3, 5])
@pytest.mark.parametrize("change", [{}, {"embedding": 5, "condition_first": False}, {"map": (3, 2, 2)}])
@pytest.mark.parametrize("training", [False, True])
def test_same_pixels(channels: int, change: dict[str, Any], training: bool) -> None:
    torch.manual_seed(0)
    narrow = Generator(12, dataclasses.replace(PLAIN, **change)).train()
    representation, noise = torch.randn(6, 12), torch.randn(6, 8)
    narrow(representation, noise)  # Running statistics other than 0 and 1.
    narrow.train(training)
    wide = widened(narrow, channels)
    assert wide.config.channels == channels
    assert wide.training is training
    torch.testing.assert_close(wide(representation, noise), narrow(representation, noise), atol=1e-5, rtol=1e-5)


def test_copies_receive_different_gradients() -> None:
    torch.manual_seed(0)
    narrow = Generator(12, PLAIN).train()
    wide = widened(narrow, 4)
    wide(torch.randn(6, 12), torch.randn(6, 8)).square().sum().backward()
    weight = wide.blocks[0].conv1.weight
    assert weight.grad is not None
    norms = weight.grad.flatten(1).norm(dim=1)
    assert len(torch.unique(norms)) == len(norms)
