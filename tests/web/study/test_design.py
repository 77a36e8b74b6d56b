"""Who sees what: balanced over items and sides, and the same whenever it is asked."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from unlogit.web.study import ORIGINAL, OTHER
from unlogit.web.study.design import ComparisonDesign, NamingDesign

MAKERS = ("a", "b", "c")


@st.composite
def designs(draw: st.DrawFn) -> ComparisonDesign:
    pairs = draw(st.integers(1, 3))
    places = draw(st.integers(2, 20))
    trials = draw(st.integers(1, places * pairs))
    checks = draw(st.integers(0, min(trials, 5)))
    chosen = (("a", "b"), ("a", "c"), ("b", "c"))[:pairs]
    return ComparisonDesign(places, trials, checks, draw(st.integers(0, 99)), chosen)


@given(designs(), st.integers(0, 50))
def test_a_participant_is_asked_each_thing_once(design: ComparisonDesign, number: int) -> None:
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
def test_items_are_asked_equally_often(design: ComparisonDesign, people: int) -> None:
    asked = Counter(
        (t.place, frozenset((t.left, t.right)))
        for number in range(people)
        for t in design.of_participant(number)
        if not t.check
    )
    counts = [asked[place, frozenset(pair)] for place in range(design.places) for pair in design.pairs]
    assert max(counts) - min(counts) <= 1


@given(designs(), st.integers(1, 30))
def test_sides_are_balanced(design: ComparisonDesign, people: int) -> None:
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
    design = ComparisonDesign(32, 32, 0, 0, (("a", "b"),))
    orders = [tuple(t.place for t in design.of_participant(number)) for number in range(8)]
    assert len(set(orders)) == 8
    assert all(set(order) == set(range(32)) for order in orders)


def test_an_original_is_met_again_as_late_as_can_be() -> None:
    design = ComparisonDesign(12, 12, 0, 0, (("a", "b"), ("a", "c")))
    for number in range(4):
        places = [t.place for t in design.of_participant(number)]
        assert len(set(places)) == 12


def test_checks_are_spread_over_the_trials() -> None:
    design = ComparisonDesign(40, 40, 4, 0, (("a", "b"),))
    for number in range(20):
        shown = design.of_participant(number)
        at = [place for place, t in enumerate(shown) if t.check]
        assert all(later > earlier for earlier, later in pairwise(at))
        assert all(k * 10 <= place - k <= (k + 1) * 10 for k, place in enumerate(at))
        sides = Counter(t.correct for t in shown if t.check)
        assert sides == {"left": 2, "right": 2}


@st.composite
def naming_designs(draw: st.DrawFn) -> NamingDesign:
    conditions = ("original", "a", "b", "c")[: draw(st.integers(2, 4))]
    places = draw(st.integers(2, 20))
    trials = draw(st.integers(1, places))
    checks = draw(st.integers(0, min(trials, 5)))
    names = tuple(("cat", "dog", f"class {place}") for place in range(places))
    labels = tuple(f"class {place}" for place in range(places))
    return NamingDesign(places, trials, checks, draw(st.integers(0, 99)), conditions, labels, names)


@given(naming_designs(), st.integers(0, 50))
def test_a_participant_sees_an_image_once_and_so_under_one_condition(design: NamingDesign, number: int) -> None:
    shown = design.of_participant(number)
    assert shown == design.of_participant(number)
    asked = [trial for trial in shown if not trial.check]
    assert len(asked) == design.trials == len({trial.place for trial in asked})
    assert sum(trial.check for trial in shown) == design.checks
    for trial in shown:
        assert trial.correct in design.choices(trial)
        assert len(design.images(trial)) == (0 if trial.check else 1)
    counts = Counter(maker for trial in asked for _, maker in design.images(trial))
    balanced = [counts[maker] for maker in design.conditions]
    # To within one, but for an arc that passes the end of the circle.
    assert max(balanced) - min(balanced) <= (1 if design.trials == design.places else 2)


@given(naming_designs(), st.integers(1, 30))
def test_each_image_is_shown_equally_often_under_each_condition(design: NamingDesign, people: int) -> None:
    counts = Counter(
        image for number in range(people) for trial in design.of_participant(number) for image in design.images(trial)
    )
    every = [counts[place, maker] for place in range(design.places) for maker in design.conditions]
    assert max(every) - min(every) <= 1


def test_as_many_participants_as_conditions_make_a_latin_square() -> None:
    names = tuple(("x", "y") for _ in range(8))
    design = NamingDesign(8, 8, 0, 3, ("original", "a", "b"), ("x",) * 8, names)
    shown = [image for number in range(3) for trial in design.of_participant(number) for image in design.images(trial)]
    assert sorted(shown) == sorted((place, maker) for place in range(8) for maker in design.conditions)
