"""Manipulations: the amounts that leave things as they are, and what they do to what a softmax sees."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from unlogit.errors import UnlogitError
from unlogit.manipulate import (
    Amount,
    class_direction,
    interpolate,
    move,
    perturb,
    random_direction,
    resample,
    scale,
    shift,
)


@pytest.fixture
def raw() -> Tensor:
    return torch.randn(6, 10, generator=torch.Generator().manual_seed(0)) * 3


def test_neutral_amounts_leave_things_as_they_are(raw: Tensor) -> None:
    other = raw.flip(0)
    assert torch.equal(shift(raw, 0), raw)
    assert torch.equal(scale(raw, 1), raw)
    assert torch.equal(perturb(raw, 0, other), raw)
    assert torch.equal(interpolate(raw, 0, other), raw)
    assert torch.equal(interpolate(raw, 1, other), other)
    assert torch.equal(resample(raw, 0, other), raw)
    torch.testing.assert_close(resample(raw, 1, other), other)


def test_a_softmax_sees_no_shift_and_its_order_no_scale(raw: Tensor) -> None:
    torch.testing.assert_close(shift(raw, 2.5).softmax(1), raw.softmax(1))
    torch.testing.assert_close(shift(raw, 2.5) - raw, torch.full_like(raw, 2.5))
    assert torch.equal(scale(raw, 0.3).argsort(1), raw.argsort(1))


def test_an_amount_may_be_one_a_vector(raw: Tensor) -> None:
    amounts = torch.linspace(0, 1, len(raw))
    alone: list[Callable[[Tensor, Amount], Tensor]] = [shift, scale]
    for function in alone:
        each = torch.cat([function(row[None], float(a)) for row, a in zip(raw, amounts, strict=True)])
        torch.testing.assert_close(function(raw, amounts), each)
    other = raw.flip(1)
    towards: list[Callable[[Tensor, Amount, Tensor], Tensor]] = [perturb, interpolate, resample]
    for towards_other in towards:
        each = torch.cat(
            [towards_other(r[None], float(a), o[None]) for r, a, o in zip(raw, amounts, other, strict=True)]
        )
        torch.testing.assert_close(towards_other(raw, amounts, other), each)


def test_the_arc_stays_normal_where_the_line_does_not() -> None:
    a, b = torch.randn(2, 500, 40, generator=torch.Generator().manual_seed(1))
    assert abs(float(resample(a, 0.5, b).std()) - 1) < 0.02
    assert abs(float(interpolate(a, 0.5, b).std()) - 0.5**0.5) < 0.02
    images = resample(a.view(-1, 2, 4, 5), 0.25, b.view(-1, 2, 4, 5))
    torch.testing.assert_close(images.flatten(), resample(a, 0.25, b).flatten())


def test_moving_along_b_minus_c_is_vector_arithmetic(raw: Tensor) -> None:
    b, c = raw.flip(0), raw.flip(1)
    assert torch.equal(move(raw, 0, b - c), raw)
    torch.testing.assert_close(move(raw, 1, b - c), raw + b - c)
    torch.testing.assert_close(move(c, 1, b - c), b)


def test_a_class_direction_changes_its_logits_alone(raw: Tensor) -> None:
    difference = move(raw, 2, class_direction(raw, {3: 1.5, 7: -1.0})) - raw
    expected = torch.zeros_like(raw)
    expected[:, 3], expected[:, 7] = 3.0, -2.0
    torch.testing.assert_close(difference, expected)
    for index in (-1, 10):
        with pytest.raises(UnlogitError, match=f"class index {index}: must be 0 to 9"):
            class_direction(raw, {index: 1.0})


def test_a_random_direction_keeps_each_length_and_nothing_else(raw: Tensor) -> None:
    control = random_direction(raw, 0)
    torch.testing.assert_close(control.norm(dim=1), raw.norm(dim=1))
    assert torch.equal(control, random_direction(raw, 0)) and not torch.equal(control, random_direction(raw, 1))
    many = torch.randn(2_000, 50, generator=torch.Generator().manual_seed(1))
    cosines = torch.cosine_similarity(random_direction(many, 0), many)
    assert abs(float(cosines.mean())) < 0.02 and float(cosines.std()) == pytest.approx(50**-0.5, rel=0.1)
    assert torch.equal(random_direction(torch.zeros(1, 4), 0), torch.zeros(1, 4))
