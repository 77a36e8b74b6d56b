"""Statistics against worked examples and independent computations."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlogit.web.study.design import ComparisonTrial, Design
from unlogit.web.study.results import (
    Judgement,
    Observation,
    Results,
    correct_preferences,
    krippendorff,
    observed_agreement,
    over_subjects,
    prefer,
)
from unlogit.web.study.tables import Database, Participant, Vote

TALLIES = st.lists(
    st.integers(0, 6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=8
)


def judgement(subject: str, place: int, first: bool, left: bool = True) -> Judgement:
    trial = ComparisonTrial(place, *(("a", "b") if left else ("b", "a")))
    return Judgement(subject, False, 0, trial, "left" if first == left else "right", 1000, 1, "")


def test_the_paper_s_table() -> None:
    # 4 subjects x 64 images: 52.7 % is 135 of 256, which the paper leaves without an interval.
    judgements = [judgement(f"P{n % 4}", n // 4, n < 135, n % 2 == 0) for n in range(256)]
    found = prefer("a", "b", judgements)
    assert found.share.value == pytest.approx(0.527, abs=5e-4)
    assert found.p == pytest.approx(0.42, abs=0.01)
    assert found.share.low < 0.5 < found.share.high
    assert found.share.n == 256 and found.subjects is not None and found.subjects.n == 4


def observation(observer: str, shares: dict[str, int], n: int = 100) -> Observation:
    """Answers of one observer, n of each pair, by the second of the pair how often the first was chosen."""
    preferences = []
    for second, chosen in shares.items():
        trials = [ComparisonTrial(place, "a", second) for place in range(n)]
        sides = ["left" if place < chosen else "right" for place in range(n)]
        answers = [Judgement("P", False, 0, t, side, 1, 1, "") for t, side in zip(trials, sides, strict=True)]
        preferences.append(prefer("a", second, answers))
    automated = observer not in ("people", "simulated")
    return Observation(observer, automated, 1, 1, (), None, None, None, tuple(preferences), ())


def test_choices_of_one_family_are_corrected_together() -> None:
    """A choice of 61 % is significant alone, and is not among five; nor do metrics change what people's answers say."""
    people = observation("people", {"b": 61, "c": 80})
    metrics = [observation(name, {"b": 61, "c": 50}) for name in ("ssim", "pixel_error")]
    corrected = correct_preferences([people, *metrics])
    alone = people.preferences[0].p
    assert alone < 0.05
    assert [one.p_holm for one in corrected[0].preferences] == pytest.approx([alone, 2 * people.preferences[1].p])
    assert [one.verdict for one in corrected[0].preferences] == ["differs significantly"] * 2
    for seen in corrected[1:]:
        assert seen.preferences[0].p == alone
        assert seen.preferences[0].p_holm == pytest.approx(4 * alone)
        assert [one.verdict for one in seen.preferences] == ["not significant"] * 2
    assert correct_preferences([people])[0] == corrected[0]


def test_alpha_of_a_worked_example() -> None:
    # Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section A: two observers, ten units, binary.
    meg = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    owen = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert krippendorff([(m + o, 2) for m, o in zip(meg, owen, strict=True)]) == pytest.approx(0.095, abs=5e-4)


@given(TALLIES)
def test_alpha_and_agreement_by_counting_all_pairs(tallies: list[tuple[int, int]]) -> None:
    units = [[1] * k + [0] * (n - k) for k, n in tallies if n > 1]
    if not units:
        assert observed_agreement(tallies) is None and krippendorff(tallies) is None
        return
    weights = [1 / (len(unit) - 1) for unit in units for _ in combinations(unit, 2)]
    alike = [a == b for unit in units for a, b in combinations(unit, 2)]
    observed = float(np.average(alike, weights=weights))
    assert observed_agreement(tallies) == pytest.approx(observed)
    values = [value for unit in units for value in unit]
    expected = np.mean([a != b for a, b in combinations(values, 2)])
    if expected == 0:
        assert krippendorff(tallies) is None
    else:
        assert krippendorff(tallies) == pytest.approx(1 - (1 - observed) / expected)


def test_agreement_at_its_ends() -> None:
    assert krippendorff([(4, 4), (0, 4)] * 10) == 1
    chance = np.random.default_rng(0)
    alpha = krippendorff([(int(k), 5) for k in chance.binomial(5, 0.5, 5000)])
    assert alpha is not None and abs(alpha) < 0.02


def test_subjects_that_differ_widen_the_interval() -> None:
    alike = over_subjects([(32, 64)] * 8)
    split = over_subjects([(64, 64), (0, 64)] * 4)
    assert alike is not None and split is not None
    assert (alike.low, alike.value, alike.high) == (0.5, 0.5, 0.5)
    assert split.value == 0.5 and split.high - split.low > 0.5
    assert over_subjects([(3, 4)]) is None


def test_intervals_over_subjects_hold_the_truth_as_often_as_they_say() -> None:
    # Subjects of different minds: their own shares are drawn around 0.7, which intervals over judgements ignore.
    chance = np.random.default_rng(1)
    hits = 0
    for _ in range(150):
        minds = chance.beta(7, 3, 20)
        found = over_subjects([(int(chance.binomial(40, mind)), 40) for mind in minds])
        assert found is not None
        hits += found.low <= 0.7 <= found.high
    assert 0.87 <= hits / 150 <= 0.99


def test_who_fails_attention_checks_is_left_out(tmp_path: Path, make_study: Callable[..., Any]) -> None:
    path = str(tmp_path / "study.sqlite")
    study, _ = make_study(path, checks=4)
    database = Database(path)
    design = Design.of(study)
    with database.writing() as session:
        # The second one misses all checks, and the third answers half of the study.
        for number in range(3):
            who = Participant(study=study.id, number=number, key=str(number))
            session.add(who)
            session.flush()
            for order, trial in enumerate(design.of_participant(number)[: 6 if number == 2 else None]):
                wanted = ("original" if number != 1 else "another image") if trial.check else "near"
                side = "left" if trial.left == wanted else "right"
                shown = {"place": trial.place, "left": trial.left, "right": trial.right, "chosen": side}
                session.add(Vote(participant=who.id, trial=order, milliseconds=700, shows=1, key="", **shown))
    people = Results.read(database, study).observations[0]
    assert people.excluded == ("P0002",)
    assert (people.subjects, people.finished) == (2, 1)
    (found,) = people.preferences
    assert found.share.value == 1 and found.agreement == 1 and found.alpha is None
    assert found.share.n == sum(item.n for item in people.items) == sum(item.chosen for item in people.items)
    assert people.seconds == 0.7
    assert people.checks is not None and people.checks.value < 1


def test_a_study_without_answers_has_results(tmp_path: Path, make_study: Callable[..., Any]) -> None:
    path = str(tmp_path / "study.sqlite")
    study, _ = make_study(path)
    (people,) = Results.read(Database(path), study).observations
    assert (people.subjects, people.preferences, people.items, people.left) == (0, (), (), None)
