"""Everything that the page's controls say, as one value that fits into a link."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from unlogit.errors import UnlogitError, unknown
from unlogit.web.explorer.gallery import ADDRESS

CLASSES = 3
"""How many classes can be moved at once."""
QUERY = 4_096
"""The longest query that is read, in characters."""
ATTACKS = ("none", "fgsm", "pgd")
CONTROLS = ("none", "random")


@dataclass(frozen=True)
class Range:
    """What a slider allows.

    Attributes:
        least, most, step: in the field's unit.
        neutral: where it changes nothing.
    """

    least: float
    most: float
    step: float
    neutral: float

    def check(self, name: str, value: float) -> None:
        """Raise `UnlogitError` outside of it."""
        if not self.least <= value <= self.most:  # Which no NaN passes.
            raise UnlogitError(f"{name} {value:g}: must be {self.least:g} to {self.most:g}")


RANGES = {
    "brightness": Range(0.2, 2.0, 0.05, 1.0),
    "contrast": Range(0.0, 2.0, 0.05, 1.0),
    "epsilon": Range(0.0, 32.0, 1.0, 8.0),
    "toward": Range(0.0, 1.0, 0.02, 0.0),
    "amount": Range(-3.0, 3.0, 0.05, 1.0),
    "shift": Range(-3.0, 3.0, 0.05, 0.0),
    "scale": Range(0.0, 3.0, 0.05, 1.0),
    "noise": Range(0.0, 2.0, 0.05, 0.0),
}
CLASS_RANGE = Range(-10.0, 10.0, 0.25, 0.0)
SEEDS = 1_000_000


@dataclass(frozen=True)
class State:
    """What is shown and what is done to it, in the order of the fields. Raises `UnlogitError` for what is not allowed.

    One sd is the standard deviation of a dimension of the representation over images, the mean over dimensions, so
    that classifiers of unlike logits can be compared.
    """

    image: str = ""
    """Address in the gallery."""
    brightness: float = 1.0
    contrast: float = 1.0
    attack: Literal["none", "fgsm", "pgd"] = "none"
    """On the classifier of each inverter, away from the class that it sees."""
    epsilon: float = 8.0
    """The attack's strength under the maximum norm, in 255ths."""
    other: str = ""
    """Address of the image that is led to."""
    toward: float = 0.0
    """How far, from 0 to 1, on the straight line between both representations."""
    classes: tuple[tuple[str, float], ...] = ()
    """Names of single classes and how much is added to their logits, in sd."""
    plus: str = ""
    """Address of image b in a + b - c, where a is `image`."""
    minus: str = ""
    """Address of image c in a + b - c."""
    amount: float = 1.0
    """Factor of b - c."""
    control: Literal["none", "random"] = "none"
    """"random" replaces the direction of `classes` and of b - c by a random one of the same length, of `seed`."""
    scale: float = 1.0
    """What every dimension is multiplied by."""
    shift: float = 0.0
    """What is added to every dimension, in sd."""
    noise: float = 0.0
    """Standard deviation of what is added to each dimension independently, in sd."""
    seed: int = 0
    """Random seed of that noise, of the generator's own and of the random direction."""

    def __post_init__(self) -> None:
        for name, allowed in RANGES.items():
            allowed.check(name, getattr(self, name))
        for name, amount in self.classes:
            CLASS_RANGE.check(f"class '{name}'", amount)
        if len(self.classes) > CLASSES or len({name for name, _ in self.classes}) < len(self.classes):
            raise UnlogitError(f"{len(self.classes)} classes: must be at most {CLASSES} different ones")
        if self.attack not in ATTACKS:
            raise unknown("attack", self.attack, ATTACKS)
        if self.control not in CONTROLS:
            raise unknown("control", self.control, CONTROLS)
        if not 0 <= self.seed < SEEDS:
            raise UnlogitError(f"seed {self.seed}: must be 0 to {SEEDS - 1}")
        for address in (self.image, self.other, self.plus, self.minus):
            if address and not ADDRESS.fullmatch(address):
                raise UnlogitError(f"image '{address[:80]}': not an address of the gallery, such as photo/cat")

    def query(self) -> str:
        """Return what differs from the defaults, as the query of a link."""
        pairs: list[tuple[str, str]] = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "classes":
                pairs += [("class", f"{amount!r} {name}") for name, amount in value]
            elif value != field.default:
                pairs.append((field.name, str(value)))
        return urlencode(pairs)

    @classmethod
    def of_query(cls, query: str) -> State:
        """Return the state of a link; raise `UnlogitError` where it holds anything else."""
        if len(query) > QUERY:
            raise UnlogitError(f"link of {len(query)} characters: must be at most {QUERY}")
        fields = {field.name: field for field in dataclasses.fields(cls) if field.name != "classes"}
        values: dict[str, Any] = {}
        classes = []
        for key, text in parse_qsl(query, keep_blank_values=True):
            if key == "class":
                amount, _, name = text.partition(" ")
                classes.append((name, _number(amount, "class")))
            elif key not in fields:
                raise unknown("part of the link", key[:40], [*fields, "class"])
            elif isinstance(fields[key].default, str):
                values[key] = text
            else:
                number = _number(text, key)
                values[key] = int(number) if key == "seed" else number
        return cls(**values, classes=tuple(classes))


def _number(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UnlogitError(f"{name} '{text[:40]}': must be a number")
    return number
