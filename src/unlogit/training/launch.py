"""Training on several processes of this machine, without torchrun.

torchrun works too, and is the way for several machines; it ends every failure with its own exit code and a page of
text, where a user's mistake should be one line.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from typing import Annotated, Any

import torch
import tyro
from torch import multiprocessing
from torch.multiprocessing.spawn import ProcessException, start_processes

from unlogit.errors import UnlogitError
from unlogit.training.config import TrainConfig
from unlogit.training.loop import train

GRACE_SECONDS = 20.0


@dataclass(frozen=True)
class Launch:
    """A run, and on how many processes."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    processes: int = 1
    """Processes on this machine: one a GPU, or on a CPU with few cores one a core. A resumed run may use another
    number."""


def launch(config: TrainConfig, processes: int = 1) -> dict[str, float]:
    """`train(config)` shared out over processes; under torchrun, or for one process, just that.

    SIGINT and SIGTERM are passed on, so that the processes stop after their step and save.
    """
    if processes < 1:
        raise UnlogitError(f"processes {processes}: must be at least 1")
    if processes == 1 or "WORLD_SIZE" in os.environ:
        return train(config)
    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise UnlogitError(f"processes {processes}: this machine has {torch.cuda.device_count()} GPUs, one for each")
    outcomes: SimpleQueue[Any] = multiprocessing.get_context("spawn").SimpleQueue()
    threads = max(1, torch.get_num_threads() // processes)
    context = start_processes(
        _work, (config, processes, threads, _free_port(), outcomes), nprocs=processes, join=False, start_method="spawn"
    )
    assert context is not None
    try:
        with _passing_on_signals(context.pids()):
            while not context.join(grace_period=GRACE_SECONDS):
                pass
    except ProcessException as error:
        told = None if outcomes.empty() else outcomes.get()
        if isinstance(told, BaseException):
            raise told from None
        # A process whose partner is killed fails too, with a traceback that says less.
        if any(process.exitcode == -signal.SIGKILL for process in context.processes):
            raise UnlogitError(
                "a training process was killed (out of memory?): the same command goes on from the last checkpoint"
            ) from error
        raise
    figures: dict[str, float] = outcomes.get()
    return figures


def _work(rank: int, config: TrainConfig, processes: int, threads: int, port: int, outcomes: SimpleQueue[Any]) -> None:
    """One process: describes itself as torchrun would, trains, and hands its figures or its error over."""
    os.setpgrp()  # The terminal's Ctrl-C reaches the parent alone, which passes it on once.
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()} | {"MASTER_ADDR": "127.0.0.1"})
    torch.set_num_threads(threads)
    try:
        figures = train(config)
    except (UnlogitError, KeyboardInterrupt) as error:
        outcomes.put(error)
        raise SystemExit(1) from None
    if rank == 0:
        outcomes.put(figures)


@contextmanager
def _passing_on_signals(pids: list[int]) -> Iterator[None]:
    def pass_on(number: int, _frame: object) -> None:
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    former = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
