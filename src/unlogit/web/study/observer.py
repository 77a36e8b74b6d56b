"""An automated observer: a metric takes the study, for a first estimate of what people would answer."""

from __future__ import annotations

import dataclasses
import secrets

import torch
from sqlmodel import col, select
from torch import Tensor

from unlogit import metrics
from unlogit.errors import UnlogitError
from unlogit.images import decode
from unlogit.metrics import Metric
from unlogit.web.study import COMPARISON, ORIGINAL
from unlogit.web.study.create import digest
from unlogit.web.study.design import ComparisonTrial, Design
from unlogit.web.study.tables import Database, Participant, Picture, Study, Vote, remove_answers

CHUNK = 64


def observe(database: Database, study: Study, metric: str) -> int:
    """Let a metric answer every item once; the same again takes the place of what it answered before.

    The alternative that the metric finds closer is chosen, and the left one where both are equally close.

    Returns:
        how many answers.

    Raises:
        UnlogitError: no such metric, what it needs is not on this machine, or the study is one of naming.
    """
    if study.trial != COMPARISON:
        raise UnlogitError(
            f"study '{study.name}': a metric cannot name images; let it take a study made with --trial comparison"
        )
    design = Design.of(study)
    distances = _distances(database, study, metrics.get(metric))
    with database.writing() as session:
        remove_answers(session, study, metric)
        observer = Participant(study=study.id or 0, number=0, observer=metric, key=digest(secrets.token_hex()))
        session.add(observer)
        session.flush()
        for order in range(design.items):
            trial = design.item(order)
            assert isinstance(trial, ComparisonTrial)
            left, right = (float(distances[maker][trial.place]) for maker in (trial.left, trial.right))
            session.add(
                Vote(
                    participant=observer.id or 0,
                    trial=order,
                    **dataclasses.asdict(trial),
                    chosen="left" if left <= right else "right",
                    milliseconds=0,
                    shows=1,
                    key="",
                )
            )
    return design.items


@torch.no_grad()
def _distances(database: Database, study: Study, metric: Metric) -> dict[str, Tensor]:
    """By maker, one value a place; lower is closer."""
    makers = sorted({maker for pair in study.pairs for maker in pair})
    sign = 1 if metric.better == "lower" else -1
    parts: dict[str, list[Tensor]] = {maker: [] for maker in makers}
    for start in range(0, study.pictures, CHUNK):
        originals = _images(database, study, ORIGINAL, start)
        for maker in makers:
            parts[maker].append(sign * metric(originals, _images(database, study, maker, start)))
    return {maker: torch.cat(values) for maker, values in parts.items()}


def _images(database: Database, study: Study, maker: str, start: int) -> Tensor:
    """Images of one maker from place `start` on, at most `CHUNK`, n x 3 x S x S in [0, 1]."""
    wanted = (
        select(Picture.png)
        .where(Picture.study == study.id, Picture.maker == maker, Picture.place >= start, Picture.place < start + CHUNK)
        .order_by(col(Picture.place))
    )
    with database.reading() as session:
        return torch.stack([decode(png, maker) for png in session.exec(wanted)]).float() / 255
