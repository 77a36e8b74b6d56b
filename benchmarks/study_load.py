"""Many participants at once against `unlogit study serve`: `python benchmarks/study_load.py`.

Each takes a study as a browser does: begins, loads three images a trial, answers after thinking. The server runs in
a process of its own on the loopback; half-way it is killed (SIGKILL) and started again where `--kill` is given. At
the end, the export is compared with what was acknowledged: no answer lost, doubled or given to somebody else.

Exits with 1 where one was, or where p95 of the answers is above 100 ms.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from unlogit.web.study.create import CreateConfig, store
from unlogit.web.study.tables import ORIGINAL

LIMIT_MS = 100
NAME = "load"


@dataclass(frozen=True)
class LoadConfig:
    """How many, how fast, and on what database."""

    database: str | None = None
    """A URL; a SQLite file in a temporary folder where none is given."""
    participants: int = 50
    """At once."""
    trials: int = 64
    """Each."""
    think: float = 1.0
    """Seconds between the images and the answer; 0 answers as fast as the machine can."""
    size: int = 64
    """Side of the images in pixels."""
    kill: bool = False
    """Kill the server half-way, and start it again."""


class Server:
    """The server's process; started again at the same address."""

    def __init__(self, database: str) -> None:
        self.database = database
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "unlogit.cli", "study", "serve", "--port", str(self.port)]
        self.process = subprocess.Popen([*command, "--database", self.database], stdout=subprocess.DEVNULL)
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health"):
                    return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("the server does not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Browser:
    """One connection that is kept open; a request is tried again until it is answered, as the page does."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: object = None) -> bytes:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} /s/{NAME}{path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        sent = f"{head}content-length: {len(content)}\r\n\r\n".encode() + content
        while True:
            try:
                if self.stream is None:
                    self.stream = await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = self.stream
                writer.write(sent)
                headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(headers.partition("content-length:")[2].partition("\r\n")[0])
                answer = await reader.readexactly(length)
            except (OSError, asyncio.IncompleteReadError):
                self.stream = None
                await asyncio.sleep(0.2)
                continue
            status = headers.split()[1]
            if status == "200":
                return answer
            if status not in ("429", "503"):
                raise SystemExit(f"{method} {path}: {status} {answer!r}")
            await asyncio.sleep(1)


@dataclass
class Taken:
    """What one participant did: the sides they chose by trial, as acknowledged, and times in milliseconds."""

    secret: str
    chosen: dict[int, str]
    answers: list[float]
    images: list[float]


async def take(browser: Browser, config: LoadConfig, taken: Taken) -> None:
    state = json.loads(await browser.request("POST", "/participants", {"participant": taken.secret}))
    chance = np.random.default_rng(int(taken.secret, 16))
    for trial, images in enumerate(state["trials"]):
        for address in images:
            began = time.perf_counter()
            await browser.request("GET", f"/pictures/{address}.png")
            taken.num_images.append(1000 * (time.perf_counter() - began))
        if config.think:
            await asyncio.sleep(config.think * chance.uniform(0.5, 1.5))
        chosen = str(chance.choice(["left", "right"]))
        answer = {"participant": taken.secret, "key": secrets.token_hex(16), "trial": trial, "chosen": chosen}
        began = time.perf_counter()
        # The time of an answer carries the trial, so that the export shows whether it was given to another one.
        await browser.request("POST", "/answers", answer | {"milliseconds": _mark(taken, trial), "shows": 1})
        taken.answers.append(1000 * (time.perf_counter() - began))
        taken.chosen[trial] = chosen


async def everyone(config: LoadConfig, server: Server) -> list[Taken]:
    everybody = [Taken(secrets.token_hex(16), {}, [], []) for _ in range(config.participants)]
    tasks = [asyncio.create_task(take(Browser(server.port), config, one)) for one in everybody]
    if config.kill:
        half = config.participants * config.trials // 2
        while sum(len(one.chosen) for one in everybody) < half:
            await asyncio.sleep(0.01)
        server.kill()
        await asyncio.to_thread(server.start)
    await asyncio.gather(*tasks)
    return everybody


def wrong(everybody: list[Taken], rows: list[dict[str, str]]) -> list[str]:
    """What the export says that was not done, and what was done that it does not say."""
    expected = {(_mark(one, trial), trial, chosen) for one in everybody for trial, chosen in one.chosen.items()}
    found = [(int(row["milliseconds"]), int(row["order"]), row["chosen_side"]) for row in rows]
    owners: dict[int, set[str]] = {}
    for row in rows:
        owners.setdefault(int(row["milliseconds"]) // 1000, set()).add(row["subject"])
    return [
        *(f"lost {answer}" for answer in expected - set(found)),
        *(f"never given {answer}" for answer in set(found) - expected),
        *["doubled"] * (len(found) - len(set(found))),
        *(f"given to {names}" for names in owners.values() if len(names) > 1),
    ]


def _mark(one: Taken, trial: int) -> int:
    """A number that is this participant's and trial's alone."""
    return int(one.secret[:5], 16) * 1000 + trial


def _pngs(indices: int, size: int) -> list[bytes]:
    chance = np.random.default_rng(0)
    made = []
    for _ in range(indices):
        buffer = BytesIO()
        Image.fromarray(chance.integers(0, 256, (size, size, 3), np.uint8)).save(buffer, "PNG")
        made.append(buffer.getvalue())
    return made


def main() -> int:
    config = tyro.cli(LoadConfig, description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        database = config.database or str(Path(folder) / "study.sqlite")
        made = CreateConfig(("a", "b"), "scenes:", name=NAME, database=database, trials=config.trials, checks=0)
        pngs = {maker: _pngs(config.trials, config.size) for maker in (ORIGINAL, "a", "b")}
        _, token = store(made, [("a", "b")], pngs)
        server = Server(database)
        began = time.perf_counter()
        everybody = asyncio.run(everyone(config, server))
        took = time.perf_counter() - began
        address = f"http://127.0.0.1:{server.port}/s/{NAME}/results/votes.csv"
        request = urllib.request.Request(address, headers={"authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request) as response:
            rows = list(csv.DictReader(response.read().decode().splitlines()))
        server.kill()
    faults = wrong(everybody, rows)
    answers = np.array([ms for one in everybody for ms in one.answers])
    images = np.array([ms for one in everybody for ms in one.num_images])
    kind = "PostgreSQL" if config.database else "SQLite"
    killed = ", server killed once" if config.kill else ""
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{kind}: {config.participants} participants x {config.trials} trials, {config.think:g} s to think{killed}")
    print(f"{took:.0f} s, {load}")
    print(f"{'':<10}{'n':>8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for name, times in (("answers", answers), ("images", images)):
        cells = "".join(f"{value:9.1f}" for value in (*np.percentile(times, [50, 95, 99]), times.max()))
        print(f"{name:<10}{len(times):>8}{cells}")
    print(
        f"{len(rows)} answers in the export; "
        + ("; ".join(faults) if faults else "none lost, doubled or misattributed")
    )
    return int(bool(faults) or np.percentile(answers, 95) > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
