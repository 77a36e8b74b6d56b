"""What every configuration shares: bounds are declared with a field's type and checked when the configuration is made.

@dataclass(frozen=True)
class DrawConfig(Checked):
    draws: Count = 4
    factors: Annotated[tuple[float, ...], Bounds(0)] = (0.5, 2.0)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from tyro.constructors import PrimitiveConstructorSpec

from unlogit.errors import UnlogitError
from unlogit.files import expand_user


@dataclass(frozen=True)
class Bounds:
    """Which numbers a field takes; of a tuple, each of its values; None is left to the field's type.

    Attributes:
        low, high: the least and the largest.
        above, below: whether `low` and `high` themselves are excluded.
        infinite: whether infinity is allowed.
        hint: ends the error, where the unit is not obvious.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    infinite: bool = False
    hint: str = ""

    def problem(self, value: object, whole: bool) -> str:
        """What is wrong with a value; empty where nothing is."""
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            return f"must be a {'whole ' if whole else ''}number"
        assert isinstance(value, int | float)
        if math.isnan(value) or (math.isinf(value) and not self.infinite):
            return "must be a finite number"
        if value < self.low or (self.above and value == self.low):
            if self.above:
                return "must be positive" if self.low == 0 else f"must be above {self.low:g}"
            return "must not be negative" if self.low == 0 else f"must be at least {self.low:g}"
        if value > self.high or (self.below and value == self.high):
            return f"must be {'below' if self.below else 'at most'} {_short(self.high)}"
        return ""


Count = Annotated[int, Bounds(1, 10**12)]
"""One or more."""
Several = Annotated[int, Bounds(2, 10**12)]
"""Two or more, as intervals need."""
Whole = Annotated[int, Bounds(0, 10**12)]
"""None or more."""
Width = Annotated[int, Bounds(1, 65_536)]
"""Channels or features of a layer, or the side of an image: more would fill any memory."""
Channels = Annotated[int, Bounds(1, 4_096)]
"""Unit of a network's widths."""
Port = Annotated[int, Bounds(1, 65_535)]
Seed = Annotated[int, Bounds(0, 2**32 - 1)]
"""Random seed: what both NumPy and torch's generator on the CPU take."""
Weight = Annotated[float, Bounds(0)]
"""Weight of a term, 0 to leave it out."""
Rate = Annotated[float, Bounds(0, above=True)]
"""Above zero."""
Share = Annotated[float, Bounds(0, 1)]
Radius = Annotated[
    float,
    Bounds(0, 1, hint="pixels are from 0 to 1; give a fraction such as 8/255, or 0.0314"),
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="FLOAT",
        instance_from_str=lambda texts: _from_fraction(texts[0]),
        is_instance=lambda value: isinstance(value, float),
        str_from_instance=lambda value: [_as_fraction(value)],
    ),
]
"""Radius of an attack in the scale where pixels are in [0, 1]; read and shown as a fraction of 255."""
Betas = Annotated[tuple[float, float], Bounds(0, 1, below=True)]
"""Decay rates of Adam's two averages."""


class Checked:
    """Base of configurations, which are frozen dataclasses.

    Raises `UnlogitError` in one line for a value out of the bounds of its field, and replaces a leading ~ in paths.

    Attributes:
        BASIC: names of the fields that --help shows, where --help-all is needed for the others; None shows all.
    """

    BASIC: ClassVar[tuple[str, ...] | None] = None

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            expanded = _expanded(value)
            if expanded is not value:
                object.__setattr__(self, field.name, expanded)
            bounds, whole = _bounds(type(self))[field.name]  # type: ignore[arg-type]
            if bounds is None or value is None:
                continue
            for each in value if isinstance(value, list | tuple) else (value,):
                if problem := bounds.problem(each, whole):
                    hint = f"; {bounds.hint}" if bounds.hint else ""
                    raise UnlogitError(f"{self.prefix()}{field.name} {each}: {problem}{hint}")

    @classmethod
    def prefix(cls) -> str:
        """Return what stands before the names of its fields on the command line."""
        return ""


def _expanded(value: Any) -> Any:
    if isinstance(value, Path):
        return Path(expand_user(str(value))) if str(value).startswith("~") else value
    if isinstance(value, tuple) and any(isinstance(each, Path) and str(each).startswith("~") for each in value):
        return tuple(map(_expanded, value))
    return value


@cache
def _bounds(config: type) -> dict[str, tuple[Bounds | None, bool]]:
    """By field, its bounds, and whether it takes whole numbers only."""
    return {name: _declared(hint) for name, hint in get_type_hints(config, include_extras=True).items()}


def _declared(hint: Any) -> tuple[Bounds | None, bool]:
    """Return the first bounds in a type, at any depth: those of `Count | None`, or of `tuple[Width, ...]`."""
    if get_origin(hint) is Annotated:
        for one in hint.__metadata__:
            if isinstance(one, Bounds):
                return one, float not in (hint.__origin__, *get_args(hint.__origin__))
    bounds = (_declared(part) for part in get_args(hint))
    return next((one for one in bounds if one[0] is not None), (None, False))


def _from_fraction(text: str) -> float:
    over, slash, under = text.partition("/")
    if slash and not float(under):
        raise ValueError(f"division by zero in '{text}'")
    return float(over) / float(under) if slash else float(text)


def _as_fraction(value: float) -> str:
    levels = round(255 * value)
    return f"{levels}/255" if levels and math.isclose(255 * value, levels, rel_tol=1e-9) else f"{value:g}"


def _short(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
