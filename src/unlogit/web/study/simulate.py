"""Simulated participants: they fill a study, so that its analysis can be tried before people take it."""

from __future__ import annotations

import secrets

import numpy as np

from unlogit.web.study.create import digest
from unlogit.web.study.design import Design
from unlogit.web.study.tables import SIMULATED, Database, Participant, Study, Vote, remove_answers

MEDIAN_MS, SPREAD = 1_500, 0.5
"""Median response time in milliseconds, and the standard deviation of its logarithm."""
BETWEEN = 0.5
"""Standard deviation over participants of their preference, on the scale of log-odds."""


def simulate(database: Database, study: Study, participants: int, preference: float, passing: float, seed: int) -> int:
    """Fill a study with simulated participants, who are marked as such; earlier ones are replaced.

    They are shown what people would be shown, numbered on their own, so that they take no place of a person's.

    Args:
        database: where the study is.
        study: to be filled.
        participants: how many, at least 1.
        preference: probability that the first inverter of a pair is chosen, over participants of median preference.
        passing: probability that an attention check is passed.
        seed: random seed of all answers.

    Returns:
        number of answers.
    """
    design, chance = Design.of(study), np.random.default_rng(seed)
    firsts = {frozenset(pair): pair[0] for pair in study.pairs}
    odds = np.log(preference / (1 - preference))
    answers = 0
    with database.writing() as session:
        remove_answers(session, study, SIMULATED)
        for number in range(participants):
            key = digest(secrets.token_hex())
            person = Participant(study=study.id or 0, number=number, observer=SIMULATED, key=key)
            session.add(person)
            session.flush()
            own = 1 / (1 + np.exp(-(odds + BETWEEN * chance.standard_normal())))
            for order, trial in enumerate(design.of_participant(number)):
                liked = (
                    trial.correct if trial.check else _side(trial.left, firsts[frozenset((trial.left, trial.right))])
                )
                other = "right" if liked == "left" else "left"
                chosen = liked if chance.random() < (passing if trial.check else own) else other
                milliseconds = round(MEDIAN_MS * float(np.exp(SPREAD * chance.standard_normal())))
                vote = Vote(
                    participant=person.id or 0,
                    trial=order,
                    key="",
                    place=trial.place,
                    left=trial.left,
                    right=trial.right,
                    chosen=chosen,
                    milliseconds=milliseconds,
                    shows=1,
                )
                session.add(vote)
                answers += 1
    return answers


def _side(left: str, maker: str) -> str:
    return "left" if left == maker else "right"
