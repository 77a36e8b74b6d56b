"""A power cut: whatever was never synced is dropped, and every acknowledged answer is still there (SQLite)."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from unlogit.web.study.results import read_judgements
from unlogit.web.study.tables import Database

PEOPLE, TRIALS, ACKNOWLEDGED = 6, 32, 100
SERVE = """
import sys
from unlogit import cli
from unlogit.web.study import tables

if synchronous := sys.argv[1]:
    prepare = tables._prepare
    def weaken(connection, record):
        prepare(connection, record)
        connection.execute(f"PRAGMA synchronous={synchronous}")
    tables._prepare = weaken
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def synced_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """synced.c, compiled."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("synced") / "synced.so"
    source = Path(__file__).with_name("synced.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


def take(port: int, acknowledged: list[tuple[int, int]], person: int) -> None:
    """Answer all trials, until the server is gone."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(path: str, body: dict[str, Any]) -> None:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        response.read()
        assert response.status == 200

    secret = secrets.token_hex(16)
    try:
        post("/s/study/participants", {"participant": secret})
        for trial in range(TRIALS):
            answer = {"participant": secret, "key": secrets.token_hex(16), "trial": trial, "chosen": "left"}
            post("/s/study/answers", answer | {"milliseconds": 1000 * person + trial, "shows": 1})
            acknowledged.append((person, trial))
    except (OSError, http.client.HTTPException):
        return


@pytest.mark.parametrize("synchronous", ["", "NORMAL"], ids=["as it is", "control: commits are not synced"])
def test_acknowledged_answers_survive_a_power_cut(
    tmp_path: Path, make_study: Callable[..., Any], synced_library: Path, synchronous: str
) -> None:
    written, disk = tmp_path / "written", tmp_path / "disk"
    written.mkdir()
    disk.mkdir()
    make_study(str(written / "study.sqlite"), places=TRIALS, checks=0)
    for file in (*written.glob("study.sqlite"), *written.glob("study.sqlite-wal")):
        shutil.copy(file, disk)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["study", "serve", "--database", str(written / "study.sqlite"), "--port", str(port)]
    environment = os.environ | {"LD_PRELOAD": str(synced_library), "SYNCED_TO": str(disk)}
    acknowledged: list[tuple[int, int]] = []
    with ExitStack() as stack, (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVE, synchronous, *arguments], env=environment, stdout=log, stderr=log
        )
        stack.callback(server.wait)
        stack.callback(server.kill)
        # The port is open from the start: a first request waits until the server answers.
        while True:
            assert server.poll() is None, (tmp_path / "log").read_text()
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5):
                    break
            except OSError:
                time.sleep(0.1)
        with ThreadPoolExecutor(PEOPLE) as pool:
            people = [pool.submit(take, port, acknowledged, person) for person in range(PEOPLE)]
            while len(acknowledged) < ACKNOWLEDGED and not all(person.done() for person in people):
                time.sleep(0.005)
            server.kill()
            for person in people:
                person.result()
    assert ACKNOWLEDGED <= len(acknowledged) < PEOPLE * TRIALS
    database = Database(str(disk / "study.sqlite"))
    stored = [divmod(one.milliseconds, 1000) for one in read_judgements(database, database.study())]
    assert len(stored) == len(set(stored))
    assert (set(acknowledged) <= set(stored)) == (synchronous == "")


def test_every_connection_writes_through_to_the_disk(tmp_path: Path, make_study: Callable[..., Any]) -> None:
    path = str(tmp_path / "study.sqlite")
    make_study(path)
    with ExitStack() as stack:
        engine = Database(path).engine
        for connection in [stack.enter_context(engine.connect()) for _ in range(20)]:
            found = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "fullfsync", "foreign_keys")
            }
            assert found == {"journal_mode": "wal", "synchronous": 3, "fullfsync": 1, "foreign_keys": 1}  # 3: EXTRA.
