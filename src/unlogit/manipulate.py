"""What the paper does to representations and noise before it draws them: pure functions of one signature.

Each maps vectors N x K and an amount to vectors N x K, and leaves them as they are at the amount that its docstring
names. Those that move towards something take it as a third argument. An amount is a number, or one a vector, shape
(N,). Representations are raw, as the classifier gave them: the standardisation belongs to the inverter and is undone
nowhere, so that a constant means in one inverter what it means in the other.

Teterwak et al., "Understanding Invariance via Feedforward Inversion of Discriminatively Trained Classifiers", ICML
2021: section 5.3 and Figures 5, 8 and 9.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from unlogit.errors import UnlogitError

Amount = float | Tensor


def shift(raw: Tensor, amount: Amount) -> Tensor:
    """Adds the same constant to every dimension (Figure 8); 0 leaves them. The softmax of logits stays the same."""
    return raw + _column(amount, raw)


def scale(raw: Tensor, amount: Amount) -> Tensor:
    """Multiplies every dimension by the same factor (Figure 8); 1 leaves them. The order of logits stays the same."""
    return raw * _column(amount, raw)


def perturb(raw: Tensor, amount: Amount, noise: Tensor) -> Tensor:
    """Adds noise of that standard deviation (Figure 8); 0 leaves them.

    `noise` is N(0, 1), shaped as `raw`; the same noise at growing amounts is a straight way out.
    """
    _check_shapes(raw, noise, "noise")
    return raw + _column(amount, raw) * noise


def interpolate(raw: Tensor, amount: Amount, other: Tensor) -> Tensor:
    """The straight line between two images' representations (Figure 9): `raw` at 0 and `other` at 1."""
    _check_shapes(raw, other, "other representation")
    return torch.lerp(raw, other, _column(amount, raw))


def move(raw: Tensor, amount: Amount, direction: Tensor) -> Tensor:
    """Move along a direction, N x K; 0 leaves them. With the difference b - c of two images, it is a + b - c at 1.

    Vector arithmetic as in Mikolov et al. 2013 (words) and Radford et al. 2016 (images).
    """
    _check_shapes(raw, direction, "direction")
    return raw + _column(amount, raw) * direction


def class_direction(raw: Tensor, amounts: Mapping[int, float]) -> Tensor:
    """Return the direction, N x K, that adds an amount to the logits of single classes, by their index."""
    if wrong := [index for index in amounts if not 0 <= index < raw.shape[1]]:
        raise UnlogitError(f"class index {wrong[0]}: must be 0 to {raw.shape[1] - 1}")
    direction = torch.zeros_like(raw)
    for index, amount in amounts.items():
        direction[:, index] = amount
    return direction


def random_direction(direction: Tensor, seed: int) -> Tensor:
    """Return random directions of the same lengths, uniform over the sphere, N x K: the control for a direction.

    What a direction does that a random one of its length does not is due to where it points.
    """
    noise = torch.randn(direction.shape, generator=torch.Generator().manual_seed(seed)).to(direction)
    return noise * (direction.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True))


def resample(noise: Tensor, amount: Amount, fresh: Tensor) -> Tensor:
    """From a generator's noise (at 0) to fresh noise (at 1), along the arc cos(t) a + sin(t) b (Figures 3 and 5).

    Of two independent N(0, 1) every point of the arc is N(0, 1) again, which the generator was trained on; the middle
    of a straight line has half the variance.
    """
    _check_shapes(noise, fresh, "fresh noise")
    angle = _column(amount, noise) * (math.pi / 2)
    return noise * angle.cos() + fresh * angle.sin()


def _check_shapes(one: Tensor, other: Tensor, what: str) -> None:
    if one.shape != other.shape:
        raise UnlogitError(f"{what} of shape {tuple(other.shape)}: must be {tuple(one.shape)}; expand or crop it")


def _column(amount: Amount, like: Tensor) -> Tensor:
    """An amount as something that spreads over vectors, or over noise that has the shape of images."""
    return torch.as_tensor(amount, dtype=like.dtype, device=like.device).reshape(-1, *(1 for _ in like.shape[1:]))
