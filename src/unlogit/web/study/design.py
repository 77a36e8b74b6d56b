"""Who sees what, where and when: a pure function of the study's seed and the participant's number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unlogit.web.study.tables import ORIGINAL, OTHER, Study

_ORDER, _SHUFFLE, _CHECKS = 0, 1, 2  # separate streams of chance under one seed


@dataclass(frozen=True)
class Trial:
    """One question: which of two pictures is more like the original at `place`.

    Attributes:
        left, right: makers of the alternatives; in an attention check `ORIGINAL` and `OTHER`.
    """

    place: int
    left: str
    right: str

    @property
    def check(self) -> bool:
        """Whether this is an attention check."""
        return OTHER in (self.left, self.right)

    @property
    def correct(self) -> str:
        """In an attention check, the side of the original."""
        assert self.check
        return "left" if self.left == ORIGINAL else "right"


@dataclass(frozen=True)
class Design:
    """Trials of every participant.

    The items, each a pair of inverters at a place, stand in a circle in which pairs take turns, and participants take
    consecutive arcs of it: each item is asked equally often, to within one. Sides change from an item to the next of
    its pair and from one showing of an item to its next, so that they are balanced within participants and over them.

    Attributes:
        places: number of originals.
        pairs: of makers.
        trials, checks: how many of either a participant is shown.
    """

    places: int
    pairs: tuple[tuple[str, str], ...]
    trials: int
    checks: int
    seed: int

    @staticmethod
    def of(study: Study) -> Design:
        pairs = tuple((first, second) for first, second in study.pairs)
        return Design(study.pictures, pairs, study.trials, study.checks, study.seed)

    @cached_property
    def _order(self) -> list[int]:
        return np.random.default_rng([self.seed, _ORDER]).permutation(self.places).tolist()  # type: ignore[no-any-return]

    @property
    def items(self) -> int:
        return self.places * len(self.pairs)

    def item(self, index: int, showing: int = 0) -> Trial:
        """Item `index` of the circle as it is shown for the `showing`-th time."""
        step, pair = divmod(index, len(self.pairs))
        # Pairs start apart from each other, so that a participant meets an original again as late as can be.
        place = self._order[(step + pair * (self.places // len(self.pairs))) % self.places]
        first, second = self.pairs[pair]
        return Trial(place, first, second) if (step + pair + showing) % 2 == 0 else Trial(place, second, first)

    def of_participant(self, number: int) -> tuple[Trial, ...]:
        """What participant `number` is shown, in their own order, checks included."""
        start = number * self.trials
        arc = [self.item(place % self.items, place // self.items) for place in range(start, start + self.trials)]
        chance = np.random.default_rng([self.seed, _SHUFFLE, number])
        shown = [arc[i] for i in chance.permutation(self.trials)]
        chance = np.random.default_rng([self.seed, _CHECKS, number])
        # One in each of as many equal stretches; from the last to the first, so that earlier places stay.
        for k in reversed(range(self.checks)):
            low, high = k * self.trials // self.checks, (k + 1) * self.trials // self.checks
            sides = (ORIGINAL, OTHER) if (k + number) % 2 == 0 else (OTHER, ORIGINAL)
            shown.insert(int(chance.integers(low, high + 1)), Trial(int(chance.integers(self.places)), *sides))
        return tuple(shown)

    def other(self, place: int) -> int:
        """The place whose original is the wrong alternative in a check at `place`."""
        return (place + self.places // 2) % self.places
