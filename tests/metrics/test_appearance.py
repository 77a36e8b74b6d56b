"""How images look: known answers, and what each measure is blind to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.metrics.appearance import brightness, colourfulness, contrast, sharpness


@pytest.fixture
def noise() -> Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_known_answers() -> None:
    white, grey = torch.ones(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5)
    assert brightness(white).item() == pytest.approx(1)
    assert contrast(white).item() == sharpness(white).item() == 0
    assert colourfulness(grey).item() == 0
    green = torch.zeros(1, 3, 8, 8)
    green[:, 1] = 1
    assert brightness(green).item() == pytest.approx(0.7152)
    board = grey.clone()
    board[..., ::2, ::2], board[..., 1::2, 1::2] = 1, 1
    board[..., ::2, 1::2], board[..., 1::2, ::2] = 0, 0
    assert contrast(board).item() == pytest.approx(0.5)
    assert sharpness(board).item() == pytest.approx(2), "every neighbour differs by twice the deviation"


def test_white_noise_has_sharpness_root_two_and_blur_lowers_it(noise: Tensor) -> None:
    grey = noise[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(sharpness(grey), torch.full((3,), 2**0.5), atol=0.03, rtol=0)
    assert (sharpness(F.avg_pool2d(grey, 3, 1)) < 0.9).all()


def test_sharpness_is_blind_to_contrast_and_contrast_to_brightness(noise: Tensor) -> None:
    torch.testing.assert_close(sharpness(0.5 * noise + 0.25), sharpness(noise))
    torch.testing.assert_close(contrast(0.5 * noise + 0.25), 0.5 * contrast(noise))
    torch.testing.assert_close(contrast(0.5 * noise + 0.1), contrast(0.5 * noise + 0.4))


def test_colourfulness_is_hasler_and_susstrunk_s(noise: Tensor) -> None:
    for image, value in zip(noise.numpy() * 255, colourfulness(noise).tolist(), strict=True):
        rg, yb = image[0] - image[1], 0.5 * (image[0] + image[1]) - image[2]
        theirs = np.sqrt(rg.std() ** 2 + yb.std() ** 2) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
        assert value * 255 == pytest.approx(theirs, rel=1e-4)
