"""Studies of made-up images, databases to keep them in, servers and a browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from unlogit.web.study import ORIGINAL
from unlogit.web.study.create import CreateConfig, store
from unlogit.web.study.tables import Study

PAIRS = (("near", "far"),)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pngs(places: int, noise: dict[str, float]) -> dict[str, list[bytes]]:
    """Images of two colours, and by maker the same with as much noise."""
    chance = np.random.default_rng(0)
    made: dict[str, list[bytes]] = {maker: [] for maker in (ORIGINAL, *noise)}
    for _ in range(places):
        original = np.kron(chance.integers(0, 256, (2, 2, 3)), np.ones((8, 8, 1)))
        for maker in made:
            pixels = original + noise.get(maker, 0) * chance.standard_normal(original.shape)
            buffer = BytesIO()
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
            made[maker].append(buffer.getvalue())
    return made


@pytest.fixture(scope="session")
def make_study() -> Callable[..., tuple[Study, str]]:
    """Make a study in a database, of images "near" and "far" or as `pairs` say; returns it and the token."""

    def make(database: str, *, places: int = 8, pairs: Any = PAIRS, **options: Any) -> tuple[Study, str]:
        makers = list(dict.fromkeys(maker for pair in pairs for maker in pair))
        config = CreateConfig(inverters=tuple(makers), images="scenes:test", database=database, **options)
        return store(config, pairs, pngs(places, {maker: 12 + 40 * place for place, maker in enumerate(makers)}))

    return make


CLASSES = (
    *(f"class {letter}, a synonym" for letter in "abcdefghijklmnopqr"),
    "<b>bold</b>",
    "West Highland white terrier",
)


@pytest.fixture(scope="session")
def make_naming_study() -> Callable[..., tuple[Study, str]]:
    """Make a naming study in a database, of originals and the inverters "near" and "far"; returns it and the token."""

    def make(database: str, *, places: int = 6, **options: Any) -> tuple[Study, str]:
        config = CreateConfig(
            inverters=("near", "far"), images="scenes:test", database=database, trial="naming", **options
        )
        labels = [(7 * place) % len(CLASSES) for place in range(places)]
        return store(config, (), pngs(places, {"near": 12, "far": 52}), labels, CLASSES)

    return make


class Server:
    """`unlogit study serve` in a process of its own, which can be killed and started again at its address."""

    def __init__(self, database: str, log: Path, options: tuple[str, ...] = ()) -> None:
        self.database = database
        self.options = options
        self.log = log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        command = [sys.executable, "-m", "unlogit.cli", "study", "serve", "--database", self.database]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, "--port", str(self.port), *self.options], stdout=log, stderr=log)
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                with urlopen(f"{self.url}/health", timeout=5):
                    return self
            except (URLError, OSError):
                time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def kill(self) -> None:
        """As a power cut would: no handler runs."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start a server of a database; all are killed at the end of the module."""
    started: list[Server] = []
    folder = tmp_path_factory.mktemp("servers")

    def start(database: str, *options: str) -> Server:
        started.append(Server(database, folder / f"{len(started)}.log", options))
        return started[-1].start()

    yield start
    for server in started:
        server.kill()


def postgres_binaries() -> Path | None:
    """The folder of initdb and pg_ctl: on the path, or where Debian puts them."""
    found = shutil.which("pg_ctl")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "initdb").is_file()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a cluster of its own, on a free port of the loopback, stopped at the end."""
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine: make test-tools")
    port = free_port()
    # The server refuses to run as root, and pytest's own folders are closed to everybody else.
    account: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": ()} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="unlogit-postgres-") as folder:
        if account:
            shutil.chown(folder, account["user"], account["group"])
        data, log = f"{folder}/data", f"{folder}/log"

        def run(program: str, *arguments: str) -> None:
            command = [str(binaries / program), "-D", data, *arguments]
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder, **account)
            assert done.returncode == 0, done.stdout + done.stderr

        run("initdb", "-U", "unlogit", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories=''"
        run("pg_ctl", "-l", log, "-o", options, "-w", "start")
        try:
            yield f"postgresql://unlogit@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-m", "immediate", "-w", "stop")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables, of either kind."""
    if request.param == "sqlite":
        return str(tmp_path / "study.sqlite")
    import psycopg

    url: str = request.getfixturevalue("postgres")
    name = f"test_{time.monotonic_ns()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return url.replace("/postgres", f"/{name}")
