"""Per-image figures against plain numpy and known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unlogit.metrics.pixel import diversity, layout, layout_cosine, layout_top, pixel_error
from unlogit.metrics.reencoding import agreement, logit_cosine, logit_error


def images(n: int, seed: int, size: int = 16) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_pixel_error_is_the_mean_square() -> None:
    a, b = images(5, 0), images(5, 1)
    expected = ((a.numpy() - b.numpy()) ** 2).reshape(5, -1).mean(1)
    assert pixel_error(a, b).numpy() == pytest.approx(expected, rel=1e-5)


def test_layout_is_block_means_of_the_image_and_its_mirror() -> None:
    a = images(3, 0)
    blocks = a.numpy().reshape(3, 3, 4, 4, 4, 4).mean((3, 5))
    expected = (blocks + blocks[..., ::-1]) / 2
    assert layout(a).numpy() == pytest.approx(expected.reshape(3, -1), abs=1e-6)
    assert torch.allclose(layout(a), layout(a.flip(3)), atol=1e-6)


def test_layout_cosine_of_a_mirrored_image_is_one() -> None:
    a = images(6, 0)
    centre = layout(a).mean(0)
    assert layout_cosine(a, a.flip(3), centre).numpy() == pytest.approx(np.ones(6), abs=1e-5)
    assert layout_cosine(a, a.roll(1, 0), centre).mean() < 0.5


def test_layout_top_finds_the_own_image_and_ranks_others_at_chance() -> None:
    a = images(48 * 20 + 7, 0)
    centre = layout(a).mean(0)
    found = layout_top(a, a, centre)
    assert len(found) == 48 * 20
    assert found.min() == 1
    chance = layout_top(a, images(len(a), 1), centre).mean()
    assert chance == pytest.approx(5 / 48, abs=0.04)


def test_agreement_counts_the_originals_class_among_the_k_highest() -> None:
    logits = torch.tensor([[3.0, 1, 0], [0, 2, 1], [0, 0, 5]])
    reencoded = torch.tensor([[9.0, 1, 0], [3, 2, 1], [4, 3, 2]])
    assert agreement(logits, reencoded).tolist() == [1, 0, 0]
    assert agreement(logits, reencoded, k=2).tolist() == [1, 1, 0]
    assert agreement(logits, reencoded, k=3).tolist() == [1, 1, 1]


def test_standardised_logit_error_of_strangers_is_two() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(500, 40, generator=generator), torch.randn(500, 40, generator=generator)
    assert logit_error(a, b).mean() == pytest.approx(2, abs=0.05)
    assert logit_cosine(a, 3 * a).numpy() == pytest.approx(np.ones(500), abs=1e-5)
    assert abs(float(logit_cosine(a, b).mean())) < 0.03


def test_diversity_is_the_root_mean_square_between_draws() -> None:
    draws = torch.stack([torch.full((4, 3, 8, 8), v) for v in (0.0, 0.3, 0.9)])
    assert diversity(draws).numpy() == pytest.approx(np.full(4, (0.3 + 0.9 + 0.6) / 3), abs=1e-6)
    assert diversity(draws[:1].repeat(3, 1, 1, 1, 1)).tolist() == [0] * 4
