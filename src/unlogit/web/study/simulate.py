"""Simulated participants: they fill a study, so that its analysis can be tried before people take it."""

from __future__ import annotations

import dataclasses
import secrets
from dataclasses import dataclass

import numpy as np

from unlogit.web.study import ORIGINAL, SIMULATED
from unlogit.web.study.create import digest
from unlogit.web.study.design import ComparisonTrial, Design, NamingTrial, Trial
from unlogit.web.study.tables import Database, Participant, Study, Vote, remove_answers

MEDIAN_MS, SPREAD = 1_500, 0.5
"""Median response time in milliseconds, and the standard deviation of its logarithm."""
BETWEEN = 0.5
"""Standard deviation over participants of their preference or skill, on the scale of log-odds."""


@dataclass(frozen=True)
class Rates:
    """What a participant of median preference and skill answers.

    Attributes:
        preference: probability that the first inverter of a pair is chosen.
        accuracy: probability that a reconstruction's class is named; originals have half as many errors.
        passing: probability that an attention check is passed.
    """

    preference: float = 0.7
    accuracy: float = 0.6
    passing: float = 0.98


def simulate(database: Database, study: Study, participants: int, rates: Rates, seed: int) -> int:
    """Fill a study with simulated participants, who are marked as such; earlier ones are replaced.

    They are shown what people would be shown, numbered on their own, so that they take no place of a person's.

    Args:
        database: where the study is.
        study: to be filled.
        participants: how many, at least 1.
        rates: what they answer.
        seed: random seed of all answers.

    Returns:
        number of answers.
    """
    design, chance = Design.of(study), np.random.default_rng(seed)
    answers = 0
    with database.writing() as session:
        remove_answers(session, study, SIMULATED)
        for number in range(participants):
            key = digest(secrets.token_hex())
            person = Participant(study=study.id or 0, number=number, observer=SIMULATED, key=key)
            session.add(person)
            session.flush()
            leaning = BETWEEN * chance.standard_normal()
            for order, trial in enumerate(design.of_participant(number)):
                liked, rate = _expected(trial, study, rates)
                if not trial.check:
                    rate = 1 / (1 + (1 - rate) / rate * np.exp(-leaning))
                others = [choice for choice in design.choices(trial) if choice != liked]
                chosen = liked if chance.random() < rate else others[int(chance.integers(len(others)))]
                milliseconds = round(MEDIAN_MS * float(np.exp(SPREAD * chance.standard_normal())))
                vote = Vote(
                    participant=person.id or 0,
                    trial=order,
                    key="",
                    **dataclasses.asdict(trial),
                    chosen=chosen,
                    milliseconds=milliseconds,
                    shows=1,
                )
                session.add(vote)
                answers += 1
    return answers


def _expected(trial: Trial, study: Study, rates: Rates) -> tuple[str, float]:
    """Return the likeliest choice in a trial, and how likely it is at the median."""
    if trial.check:
        assert trial.correct is not None
        return trial.correct, rates.passing
    if isinstance(trial, NamingTrial):
        return trial.label, (1 + rates.accuracy) / 2 if trial.maker == ORIGINAL else rates.accuracy
    assert isinstance(trial, ComparisonTrial)
    return "left" if [trial.left, trial.right] in study.pairs else "right", rates.preference
