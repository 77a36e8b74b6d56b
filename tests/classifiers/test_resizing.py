"""Resizing by matrices is torch's interpolation."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from unlogit.classifiers._resizing import resized


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("shape", [(64, 64), (32, 48), (50, 64), (100, 40)], ids=str)
def test_values_and_gradients_are_those_of_interpolation(shape: tuple[int, int], mode: str) -> None:
    """The last one shrinks in one direction, and is therefore antialiased."""
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    own = resized(pixels, 64, mode)
    expected = F.interpolate(pixels, (64, 64), mode=mode, antialias=min(shape) > 64, align_corners=False)
    weight = torch.rand_like(own)
    grads = [torch.autograd.grad((weight * images).sum(), pixels)[0] for images in (own, expected)]
    torch.testing.assert_close(own, expected)
    torch.testing.assert_close(*grads)


def test_pixels_stay_in_full_precision_under_autocast() -> None:
    pixels = torch.rand(2, 3, 32, 32)
    exact = resized(pixels, 48, "bicubic")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(resized(pixels, 48, "bicubic"), exact)


def test_a_matrix_made_in_inference_mode_serves_training_later() -> None:
    with torch.inference_mode():
        resized(torch.rand(1, 3, 21, 21), 37, "bicubic")
    pixels = torch.rand(1, 3, 21, 21, requires_grad=True)
    resized(pixels, 37, "bicubic").sum().backward()
    assert pixels.grad is not None
