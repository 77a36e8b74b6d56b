"""Who sees what: balanced over items and sides, and the same whenever it is asked."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from unlogit.web.study.design import Design
from unlogit.web.study.tables import ORIGINAL, OTHER

MAKERS = ("a", "b", "c")


@st.composite
def designs(draw: st.DrawFn) -> Design:
    pairs = draw(st.integers(1, 3))
    places = draw(st.integers(2, 20))
    trials = draw(st.integers(1, places * pairs))
    checks = draw(st.integers(0, min(trials, 5)))
    return Design(places, (("a", "b"), ("a", "c"), ("b", "c"))[:pairs], trials, checks, draw(st.integers(0, 99)))


@given(designs(), st.integers(0, 50))
def test_a_participant_is_asked_each_thing_once(design: Design, number: int) -> None:
    shown = design.of_participant(number)
    assert shown == design.of_participant(number)
    asked = [(t.place, frozenset((t.left, t.right))) for t in shown if not t.check]
    assert len(asked) == design.trials == len(set(asked))
    assert sum(t.check for t in shown) == design.checks
    for trial in shown:
        assert 0 <= trial.place < design.places
        if trial.check:
            assert {trial.left, trial.right} == {ORIGINAL, OTHER}
            assert design.other(trial.place) != trial.place
            assert (trial.left if trial.correct == "left" else trial.right) == ORIGINAL


@given(designs(), st.integers(1, 30))
def test_items_are_asked_equally_often(design: Design, people: int) -> None:
    asked = Counter(
        (t.place, frozenset((t.left, t.right)))
        for number in range(people)
        for t in design.of_participant(number)
        if not t.check
    )
    counts = [asked[place, frozenset(pair)] for place in range(design.places) for pair in design.pairs]
    assert max(counts) - min(counts) <= 1


@given(designs(), st.integers(1, 30))
def test_sides_are_balanced(design: Design, people: int) -> None:
    everybody = [[t for t in design.of_participant(number) if not t.check] for number in range(people)]
    for pair in design.pairs:
        for shown in everybody:
            # An arc of the circle alternates, but for where it passes the circle's end.
            signs = [1 if t.left == pair[0] else -1 for t in shown if {t.left, t.right} == set(pair)]
            assert abs(sum(signs)) <= 2
        for place in range(design.places):
            signs = [
                1 if t.left == pair[0] else -1
                for shown in everybody
                for t in shown
                if t.place == place and {t.left, t.right} == set(pair)
            ]
            assert abs(sum(signs)) <= 1


def test_orders_differ_between_participants() -> None:
    design = Design(32, (("a", "b"),), 32, 0, 0)
    orders = [tuple(t.place for t in design.of_participant(number)) for number in range(8)]
    assert len(set(orders)) == 8
    assert all(set(order) == set(range(32)) for order in orders)


def test_an_original_is_met_again_as_late_as_can_be() -> None:
    design = Design(12, (("a", "b"), ("a", "c")), 12, 0, 0)
    for number in range(4):
        places = [t.place for t in design.of_participant(number)]
        assert len(set(places)) == 12


def test_checks_are_spread_over_the_trials() -> None:
    design = Design(40, (("a", "b"),), 40, 4, 0)
    for number in range(20):
        shown = design.of_participant(number)
        at = [place for place, t in enumerate(shown) if t.check]
        assert all(later > earlier for earlier, later in pairwise(at))
        assert all(k * 10 <= place - k <= (k + 1) * 10 for k, place in enumerate(at))
        sides = Counter(t.correct for t in shown if t.check)
        assert sides == {"left": 2, "right": 2}
