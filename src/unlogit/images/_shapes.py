"""The ten shapes of `scenes:` as signed distance functions.

Each takes coordinates x (right) and y (up), tensors of one shape, in units of the shape's radius, and returns the
distance to its outline: negative inside. The distances are exact near the outline, which is all that
anti-aliasing needs. Every shape lies within the unit disc and is named by what one sees at rotation 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Shape:
    """A class of `scenes:`.

    Attributes:
        distance: its signed distance function.
        symmetry: how many rotations within a full turn leave it as it is; 0 where any does.
        chiral: whether mirroring makes a shape that no rotation makes.
    """

    name: str
    distance: Distance
    symmetry: int
    chiral: bool = False


def _disc(x: Tensor, y: Tensor, radius: float, centre: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    return torch.hypot(x - centre[0], y - centre[1]) - radius


def polygon(corners: Sequence[tuple[float, float]], rounding: float = 0.0) -> Distance:
    """The distance to a simple polygon whose corners are rounded outwards by a radius."""

    def distance(x: Tensor, y: Tensor) -> Tensor:
        nearest = torch.full_like(x, math.inf)
        inside = torch.zeros_like(x, dtype=torch.bool)
        for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
            ex, ey = bx - ax, by - ay
            px, py = x - ax, y - ay
            along = ((px * ex + py * ey) / (ex * ex + ey * ey)).clamp_(0, 1)
            nearest = torch.minimum(nearest, (px - along * ex).square_() + (py - along * ey).square_())
            if ey:  # a ray to the right crosses this edge: the even-odd rule
                inside ^= ((y >= ay) != (y >= by)) & (px < py * (ex / ey))
        nearest = nearest.sqrt_()
        return torch.where(inside, -nearest, nearest) - rounding

    return distance


def _turned(count: int, radius: float, start: float = 0.25) -> list[tuple[float, float]]:
    """The corners of a regular polygon; `start` is the first one's angle in turns."""
    angles = [2 * math.pi * (start + i / count) for i in range(count)]
    return [(radius * math.cos(a), radius * math.sin(a)) for a in angles]


def _star(outer: float, inner: float) -> list[tuple[float, float]]:
    tips, notches = _turned(5, outer), _turned(5, inner, 0.25 + 0.1)
    return [corner for pair in zip(tips, notches, strict=True) for corner in pair]


def _ring(x: Tensor, y: Tensor) -> Tensor:
    return _disc(x, y, 0.66).abs_() - 0.24


def _crescent(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(_disc(x, y, 0.95, (0.05, 0.0)), -_disc(x, y, 0.78, (0.46, 0.0)))


def _heart(x: Tensor, y: Tensor) -> Tensor:
    """A square on its corner with a half disc on each of its upper sides."""
    side, foot = 0.55, -0.96  # half the square's side; the lowest corner's height
    middle = foot + side * math.sqrt(2)
    u, v = (x + (y - middle)) / math.sqrt(2), (x - (y - middle)) / math.sqrt(2)
    square = torch.maximum(u.abs(), v.abs()) - side
    lobes = torch.minimum(_disc(u, v, side, (side, 0.0)), _disc(u, v, side, (0.0, -side)))
    return torch.minimum(square, lobes)


def _comma(x: Tensor, y: Tensor) -> Tensor:
    """One half of yin and yang: a half disc, with a half-sized disc added above and one taken away below."""
    half = torch.maximum(_disc(x, y, 0.96), -x)
    body = torch.minimum(half, _disc(x, y, 0.48, (0.0, 0.48)))
    return torch.maximum(body, -_disc(x, y, 0.48, (0.0, -0.48)))


def _pinwheel(x: Tensor, y: Tensor) -> Tensor:
    """Three half discs that lean against each other."""
    blades = []
    for i in range(3):
        angle = 2 * math.pi * i / 3
        u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        blades.append(torch.maximum(_disc(u, v, 0.48, (0.48, 0.0)), -v))
    return torch.minimum(torch.minimum(blades[0], blades[1]), blades[2])


_BOLT = [(0.17, 0.91), (-0.62, -0.14), (-0.12, -0.14), (-0.25, -0.90), (0.62, 0.20), (0.09, 0.20)]

SHAPES = (
    Shape("disc", lambda x, y: _disc(x, y, 0.88), symmetry=0),
    Shape("ring", _ring, symmetry=0),
    Shape("square", polygon(_turned(4, 0.85, 0.125), 0.10), symmetry=4),
    Shape("triangle", polygon(_turned(3, 0.90), 0.10), symmetry=3),
    Shape("star", polygon(_star(0.95, 0.46), 0.05), symmetry=5),
    Shape("heart", _heart, symmetry=1),
    Shape("crescent", _crescent, symmetry=1),
    Shape("comma", _comma, symmetry=1, chiral=True),
    Shape("bolt", polygon(_BOLT, 0.06), symmetry=1, chiral=True),
    Shape("pinwheel", _pinwheel, symmetry=3, chiral=True),
)
