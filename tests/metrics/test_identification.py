"""Bits on channels of known capacity."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unlogit.metrics.identification import (
    Lineups,
    bits,
    difference_over_lineups,
    entropy,
    fano,
    named,
    over_lineups,
    ranks,
)

ANY = torch.zeros(1024, dtype=torch.int64)


def channel(dim: int, noise: float, seed: int, n: int = 1024) -> tuple[Tensor, Tensor]:
    """Gaussian vectors, and what comes out of a channel that adds Gaussian noise."""
    generator = torch.Generator().manual_seed(seed)
    sent = torch.randn(n, dim, generator=generator)
    return sent, sent + noise * torch.randn(n, dim, generator=generator)


@pytest.mark.parametrize(("dim", "noise"), [(1, 1.0), (2, 1.0), (4, 1.0), (4, 2.0)])
def test_a_gaussian_channel_proves_most_of_its_capacity_and_no_more(dim: int, noise: float) -> None:
    capacity = dim / 2 * math.log2(1 + 1 / noise**2)
    sent, received = channel(dim, noise, 0)
    lineups = Lineups.drawn(ANY, 64, 0)
    found = over_lineups(bits(lineups.similarity(received, sent)), -math.inf, 6)
    assert 0.8 * capacity < found.value < capacity + (found.high - found.value)
    assert found.n == 1024


def test_longer_lineups_prove_more_and_never_more_than_their_length() -> None:
    sent, received = channel(8, 0.5, 0)  # 9.3 bits
    values = [float(bits(Lineups.drawn(ANY, among, 0).similarity(received, sent)).mean()) for among in (4, 16, 64)]
    assert values[0] < values[1] < values[2]
    assert [v <= cap for v, cap in zip(values, (2, 4, 6), strict=True)] == [True] * 3
    assert values[2] > 5.5


def test_without_noise_all_is_proven_and_with_nothing_but_noise_nothing() -> None:
    sent, other = channel(6, 1.0, 0)[0], channel(6, 1.0, 1)[0]
    lineups = Lineups.drawn(ANY, 16, 0)
    whole = lineups.similarity(sent[:, [3, 1, 0, 2, 5, 4]], sent[:, [3, 1, 0, 2, 5, 4]])
    assert float(bits(whole).mean()) == pytest.approx(4, abs=0.01)
    assert float(named(whole).mean()) == 1
    nothing = lineups.similarity(other, sent)
    estimate = over_lineups(bits(nothing), -math.inf, 4)
    assert estimate.value < 0.02
    assert float(named(nothing).mean()) == pytest.approx(1 / 16, abs=0.03)
    assert float(ranks(nothing).mean() / 15) == pytest.approx(0.5, abs=0.03)


def test_beyond_a_class_a_channel_of_the_class_alone_proves_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(4, (1024,), generator=generator)
    centres = 20 * torch.eye(4)
    sent = centres[classes] + torch.randn(1024, 4, generator=generator)
    received = centres[classes] + torch.randn(1024, 4, generator=generator)
    anyone = bits(Lineups.drawn(ANY, 32, 0).similarity(received, sent)).mean()
    fellows = Lineups.drawn(classes, 32, 0)
    assert all(len(classes[group].unique()) == 1 for group in fellows.places)
    beyond = over_lineups(bits(fellows.similarity(received, sent)), -math.inf, 5)
    assert float(anyone) == pytest.approx(2, abs=0.15)
    assert beyond.value < 0.02


def test_a_useless_similarity_beside_a_good_one_does_no_harm() -> None:
    sent, received = channel(4, 1.0, 0)
    lineups = Lineups.drawn(ANY, 32, 0)
    good = lineups.similarity(received, sent)
    bad = lineups.similarity(channel(4, 1.0, 5)[0], sent)
    assert float(bits(torch.stack([good, bad])).mean()) > float(bits(good).mean()) - 0.05


def test_the_interval_covers() -> None:
    """Of what the same critic would prove on endless images, taken from many."""
    n = 512
    many = channel(2, 1.0, 99, 8192)
    truth = float(bits(Lineups.drawn(torch.zeros(8192, dtype=torch.int64), 16, 0).similarity(*many[::-1])).mean())
    covered = 0
    for seed in range(40):
        sent, received = channel(2, 1.0, seed, n)
        e = over_lineups(bits(Lineups.drawn(ANY[:n], 16, seed).similarity(received, sent), seed), -math.inf, 4)
        covered += e.low <= truth <= e.high
    assert covered >= 34


@pytest.mark.parametrize(("effect", "significant"), [(0.1, True), (0.0, False)])
def test_bits_are_compared_line_up_by_line_up(effect: float, significant: bool) -> None:
    """Line-ups differ in difficulty by far more than the two inverters do."""
    generator = torch.Generator().manual_seed(0)
    difficulty = torch.randn(30, 1, generator=generator).double()
    a, b = (difficulty + 0.1 * torch.randn(30, 8, generator=generator) for _ in range(2))
    one, other = (over_lineups(values, -math.inf, math.inf) for values in (a + effect, b))
    assert one.low < other.high
    found = difference_over_lineups(a + effect, b)
    assert found.significant == significant
    assert found.estimate.value == pytest.approx(effect, abs=0.03)
    assert found.estimate.n == 240


def test_ties_share_their_place_and_are_a_lottery() -> None:
    level = torch.zeros(1, 4, 4)
    assert ranks(level).tolist() == [[1.5] * 4]
    assert named(level).tolist() == [[0.25] * 4]


def test_lineups_leave_nobody_in_two() -> None:
    places = Lineups.drawn(torch.arange(100) % 3, 10, 0).places
    assert places.shape == (9, 10)
    assert len(places.unique()) == 90


def test_fano_and_entropy() -> None:
    assert fano(1, 8) == pytest.approx(3)
    assert fano(1 / 8, 8) == 0
    assert fano(0.01, 8) == 0
    # A symmetric channel's capacity with uniform inputs: Fano's bound is met.
    right, others = 0.7, 7
    capacity = 3 + right * math.log2(right) + 0.3 * math.log2(0.3 / others)
    assert fano(right, 8) == pytest.approx(capacity)
    assert entropy(torch.arange(16)) == pytest.approx(4)
    assert entropy(torch.zeros(5, dtype=torch.int64)) == 0
