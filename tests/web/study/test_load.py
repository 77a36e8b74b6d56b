"""Many at once, on either database, and a server that is killed in the middle."""

from __future__ import annotations

import csv
import http.client
import io
import json
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

PEOPLE, TRIALS, CHECKS = 50, 24, 2


class Browser:
    """One connection that is kept open; a request is sent until there is an answer, as the page does."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        while True:
            try:
                self.connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
                response = self.connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException):
                self.connection.close()
                time.sleep(0.05)
                continue
            if response.status < 500:
                assert response.status == 200, content
                return json.loads(content)


def exported(url: str, token: str) -> list[dict[str, str]]:
    response = httpx.get(f"{url}/s/study/results/votes.csv", headers={"authorization": f"Bearer {token}"}, timeout=60)
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(response.text)))


def given(rows: list[dict[str, str]]) -> set[tuple[int, int, str]]:
    return {(int(row["milliseconds"]), int(row["order"]), row["chosen_side"]) for row in rows}


def test_no_vote_is_lost_doubled_or_misattributed_though_the_server_is_killed(
    database: str, make_study: Callable[..., Any], serve: Callable[[str], Any]
) -> None:
    _, token = make_study(database, places=TRIALS, trials=TRIALS, checks=CHECKS)
    server = serve(database)
    acknowledged: list[tuple[int, int, str]] = []  # (person, trial, side); append is atomic
    half = threading.Event()

    def take(person: int) -> None:
        secret = secrets.token_hex(16)
        browser = Browser(server.port)
        state = browser.post("/s/study/participants", {"participant": secret})
        assert len(state["trials"]) == TRIALS + CHECKS
        for trial in range(TRIALS + CHECKS):
            side = "left" if (person * 7 + trial * 3) % 5 < 2 else "right"
            # The time carries the person, so that the export shows whose answer it is.
            body = {"participant": secret, "key": secrets.token_hex(16), "trial": trial, "chosen": side, "shows": 1}
            for _ in range(2 if (person + trial) % 8 == 0 else 1):  # As after an acknowledgement that was lost.
                browser.post("/s/study/answers", body | {"milliseconds": 1000 * person + trial})
            acknowledged.append((person, trial, side))
            if len(acknowledged) > PEOPLE * TRIALS // 2:
                half.set()

    with ThreadPoolExecutor(PEOPLE) as pool:
        people = [pool.submit(take, person) for person in range(PEOPLE)]
        while not half.wait(0.01):
            for person in people:
                if person.done():
                    person.result()
        before = list(acknowledged)
        server.kill()
        server.start()
        survived = given(exported(server.url, token))
        assert {(1000 * person + trial, trial, side) for person, trial, side in before} <= survived
        for done in people:
            done.result()
    rows = exported(server.url, token)
    assert len(rows) == len(acknowledged) == PEOPLE * (TRIALS + CHECKS)
    assert given(rows) == {(1000 * person + trial, trial, side) for person, trial, side in acknowledged}
    # Numbers were given out once each, and each to one person.
    owners = {(row["subject"], int(row["milliseconds"]) // 1000) for row in rows}
    assert sorted(subject for subject, _ in owners) == [f"P{n + 1:04}" for n in range(PEOPLE)]
    assert len({person for _, person in owners}) == PEOPLE


def test_the_same_answer_many_times_at_once_counts_once(
    database: str, make_study: Callable[..., Any], serve: Callable[[str], Any]
) -> None:
    _, token = make_study(database, checks=0)
    server = serve(database)
    secret, key = secrets.token_hex(16), secrets.token_hex(16)
    with httpx.Client(base_url=f"{server.url}/s/study", timeout=60) as client, ThreadPoolExecutor(8) as pool:

        def begin(_: int) -> Any:
            return client.post("/participants", json={"participant": secret}).json()

        def answer(n: int) -> int:
            body = {"participant": secret, "trial": n // 8, "chosen": "left", "milliseconds": 1, "shows": 1}
            return client.post("/answers", json=body | {"key": key if n % 2 else secrets.token_hex(16)}).status_code

        states = list(pool.map(begin, range(16)))
        assert all(state == states[0] for state in states)
        codes = list(pool.map(answer, range(64)))
    assert set(codes) == {200, 409}
    rows = exported(server.url, token)
    assert sorted(int(row["order"]) for row in rows) == list(range(8))
    assert {row["subject"] for row in rows} == {"P0001"}
