"""Who sees what, where and when: a pure function of the study's seed and the participant's number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np

from unlogit.web.study import NAMING, ORIGINAL, OTHER
from unlogit.web.study.tables import Study, Vote

_ORDER, _SHUFFLE, _CHECKS = 0, 1, 2  # separate streams of chance under one seed


@dataclass(frozen=True)
class Trial(ABC):
    """One question about the image at `place`. The fields are columns of `Vote`."""

    place: int

    @classmethod
    def recorded(cls, vote: Vote) -> Self:
        """Return the trial that a vote answers."""
        return cls(**{field.name: getattr(vote, field.name) for field in fields(cls)})

    @property
    @abstractmethod
    def check(self) -> bool:
        """Whether this is an attention check."""

    @property
    @abstractmethod
    def correct(self) -> str | None:
        """The right choice; None where the question has none."""


@dataclass(frozen=True)
class ComparisonTrial(Trial):
    """A question which of two images is more like the original.

    Attributes:
        left, right: makers of the alternatives; in an attention check `ORIGINAL` and `OTHER`.
    """

    left: str
    right: str

    @property
    def check(self) -> bool:
        return OTHER in (self.left, self.right)

    @property
    def correct(self) -> str | None:
        return ("left" if self.left == ORIGINAL else "right") if self.check else None


@dataclass(frozen=True)
class NamingTrial(Trial):
    """A question what an image shows.

    Attributes:
        maker: of the image; empty in an attention check, which shows no image and asks for a name instead.
        label: the name of the original's class; in an attention check, the name that is asked for.
    """

    maker: str
    label: str

    @property
    def check(self) -> bool:
        return not self.maker

    @property
    def correct(self) -> str:
        return self.label


@dataclass(frozen=True)
class Design(ABC):
    """Trials of every participant.

    The items stand in a circle, and participants take consecutive arcs of it: each item of the circle is asked equally
    often, to within one.

    Attributes:
        places: number of originals.
        trials, checks: how many of either a participant is shown.
    """

    places: int
    trials: int
    checks: int
    seed: int

    @staticmethod
    def of(study: Study) -> Design:
        """Return the design of a study."""
        common = (study.pictures, study.trials, study.checks, study.seed)
        if study.trial == NAMING:
            choices = tuple(map(tuple, study.choices))
            return NamingDesign(*common, tuple(study.conditions), tuple(study.labels), choices)
        return ComparisonDesign(*common, tuple((first, second) for first, second in study.pairs))

    @cached_property
    def order(self) -> list[int]:
        """Places in the order of the circle."""
        return np.random.default_rng([self.seed, _ORDER]).permutation(self.places).tolist()  # type: ignore[no-any-return]

    @property
    @abstractmethod
    def items(self) -> int:
        """Number of items on the circle."""

    @abstractmethod
    def item(self, index: int, showing: int = 0) -> Trial:
        """Return item `index` of the circle as it is shown for the `showing`-th time."""

    @abstractmethod
    def check(self, place: int, turn: int) -> Trial:
        """Return an attention check at `place`; the right choice changes with `turn`."""

    @abstractmethod
    def choices(self, trial: Trial) -> tuple[str, ...]:
        """Return what a participant can choose in a trial, in the order on the screen."""

    @abstractmethod
    def images(self, trial: Trial) -> tuple[tuple[int, str], ...]:
        """Return place and maker of each image of a trial, in the order on the screen."""

    def of_participant(self, number: int) -> tuple[Trial, ...]:
        """Return what participant `number` is shown, in their own order, checks included."""
        start = number * self.trials
        arc = [self.item(index % self.items, index // self.items) for index in range(start, start + self.trials)]
        chance = np.random.default_rng([self.seed, _SHUFFLE, number])
        shown = [arc[i] for i in chance.permutation(self.trials)]
        chance = np.random.default_rng([self.seed, _CHECKS, number])
        # One in each of as many equal stretches; from the last to the first, so that earlier places stay.
        for k in reversed(range(self.checks)):
            low, high = k * self.trials // self.checks, (k + 1) * self.trials // self.checks
            position = int(chance.integers(low, high + 1))
            shown.insert(position, self.check(int(chance.integers(self.places)), k + number))
        return tuple(shown)


@dataclass(frozen=True)
class ComparisonDesign(Design):
    """Each item is a pair of inverters at a place.

    Pairs take turns along the circle. Sides change from an item to the next of its pair and from one showing of an
    item to its next, so that they are balanced within participants and over them.

    Attributes:
        pairs: of makers.
    """

    pairs: tuple[tuple[str, str], ...]

    @property
    def items(self) -> int:
        return self.places * len(self.pairs)

    def item(self, index: int, showing: int = 0) -> ComparisonTrial:
        step, pair = divmod(index, len(self.pairs))
        # Pairs start apart from each other, so that a participant meets an original again as late as can be.
        place = self.order[(step + pair * (self.places // len(self.pairs))) % self.places]
        first, second = self.pairs[pair]
        sides = (first, second) if (step + pair + showing) % 2 == 0 else (second, first)
        return ComparisonTrial(place, *sides)

    def check(self, place: int, turn: int) -> ComparisonTrial:
        return ComparisonTrial(place, *((ORIGINAL, OTHER) if turn % 2 == 0 else (OTHER, ORIGINAL)))

    def choices(self, trial: Trial) -> tuple[str, ...]:
        return ("left", "right")

    def images(self, trial: Trial) -> tuple[tuple[int, str], ...]:
        assert isinstance(trial, ComparisonTrial)
        alternatives = [
            (self.other(trial.place), ORIGINAL) if maker == OTHER else (trial.place, maker)
            for maker in (trial.left, trial.right)
        ]
        return ((trial.place, ORIGINAL), *alternatives)

    def other(self, place: int) -> int:
        """Return the place whose original is the wrong alternative in a check at `place`."""
        return (place + self.places // 2) % self.places


@dataclass(frozen=True)
class NamingDesign(Design):
    """Each item is an original, shown under one condition: as it is, or as an inverter reconstructs it.

    Conditions take turns along the circle and move on by one from one round of the circle to the next (a Latin
    square of images and rounds): a participant sees each image once, conditions are balanced within participants and
    over them, and each image is shown equally often under each condition, to within one.

    Attributes:
        conditions: makers of the images that are shown.
        labels: of each place, the name of the original's class.
        names: of each place, the names to choose from.
    """

    conditions: tuple[str, ...]
    labels: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]

    @property
    def items(self) -> int:
        return self.places

    def item(self, index: int, showing: int = 0) -> NamingTrial:
        place = self.order[index]
        return NamingTrial(place, self.conditions[(index + showing) % len(self.conditions)], self.labels[place])

    def check(self, place: int, turn: int) -> NamingTrial:
        names = self.names[place]
        return NamingTrial(place, "", names[turn % len(names)])

    def choices(self, trial: Trial) -> tuple[str, ...]:
        return self.names[trial.place]

    def images(self, trial: Trial) -> tuple[tuple[int, str], ...]:
        assert isinstance(trial, NamingTrial)
        return () if trial.check else ((trial.place, trial.maker),)
