"""Counting answers: those that arrive while others are written go to the disk together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from unlogit.web.study.tables import Database, Vote

Outcome = Literal["counted", "again", "taken"]
"""Counted now; counted before, by the same key; or the trial has another answer, which stays."""


class Ballots:
    """Writes votes one batch after another, so that the wait for the disk is shared by all who wait for it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._waiting: list[tuple[Vote, asyncio.Future[Outcome]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def cast(self, vote: Vote) -> Outcome:
        """Count a vote; when this returns, it is on the disk."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((vote, outcome))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await outcome

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                results = await asyncio.to_thread(commit, self.database, [vote for vote, _ in batch])
            except Exception as error:
                for _, outcome in batch:
                    if not outcome.done():
                        outcome.set_exception(error)
                continue
            for (_, outcome), result in zip(batch, results, strict=True):
                if not outcome.done():
                    outcome.set_result(result)
        self._writing = None


def commit(database: Database, votes: Sequence[Vote]) -> list[Outcome]:
    """Write votes at once; where one of them was counted before, each by itself."""
    try:
        database.write(insert(Vote).values([vote.model_dump() for vote in votes]))
        return ["counted"] * len(votes)
    except IntegrityError:
        if len(votes) > 1:
            return [outcome for vote in votes for outcome in commit(database, [vote])]
    with database.reading() as session:
        first = session.get(Vote, (votes[0].participant, votes[0].trial))
    return ["again" if first is not None and first.key == votes[0].key else "taken"]
