"""The same work on several processes of this machine, without torchrun.

torchrun works too, and is the way for several machines; it ends every failure with its own exit code and a page of
text, where a user's mistake should be one line.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeVar

import torch
from torch import multiprocessing
from torch.multiprocessing.spawn import ProcessException, start_processes

from unlogit.errors import UnlogitError
from unlogit.runtime.distributed import Lost
from unlogit.runtime.progress import stoppable

GRACE_SECONDS = 20.0

Config = TypeVar("Config")
Result = TypeVar("Result")


def launch(work: Callable[[Config], Result], config: Config, processes: int = 1, device: str = "auto") -> Result:
    """`work(config)` shared out over processes; under torchrun, or for one process, just that.

    SIGINT and SIGTERM are passed on, so that the processes stop after their step and save.

    Args:
        work: a function of a module, which joins the others by `unlogit.runtime.distributed.start`.
        config: its argument.
        processes: one a GPU, or on a CPU with few cores one a core.
        device: as `pick_device` takes it.

    Returns:
        what the first process returned.
    """
    if processes < 1:
        raise UnlogitError(f"processes {processes}: must be at least 1")
    if processes == 1 or "WORLD_SIZE" in os.environ:
        return work(config)
    if ":" in device:
        raise UnlogitError(f"processes {processes} with --device {device}: each process needs its own GPU; give cuda")
    if device in ("auto", "cuda") and torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise UnlogitError(f"processes {processes}: this machine has {torch.cuda.device_count()} GPUs, one for each")
    outcomes: SimpleQueue[Any] = multiprocessing.get_context("spawn").SimpleQueue()
    threads = max(1, torch.get_num_threads() // processes)
    pids: list[int] = []
    signals: list[int] = []
    try:
        with _passing_on_signals(pids, signals):
            context = start_processes(
                _one,
                (work, config, processes, threads, _free_port(), outcomes),
                nprocs=processes,
                join=False,
                start_method="spawn",
            )
            assert context is not None
            pids += context.pids()
            if signals:
                _terminate(pids)
            while not context.join(grace_period=GRACE_SECONDS):
                pass
    except ProcessException as error:
        answers = []
        while not outcomes.empty():
            answers.append(outcomes.get())
        mistakes = [one for one in answers if isinstance(one, BaseException) and not isinstance(one, Lost)]
        if mistakes:
            raise mistakes[0] from None
        if signals:
            raise KeyboardInterrupt from None
        # A process whose partner is killed fails too, in an exchange, and says less.
        killed = [index for index, process in enumerate(context.processes) if process.exitcode == -signal.SIGKILL]
        if killed:
            raise UnlogitError(
                f"process {killed[0]} of {processes} was killed (out of memory?), the others have ended: "
                "the same command resumes from the last checkpoint"
            ) from error
        raise next((one for one in answers if isinstance(one, Lost)), error) from None
    result: Result = outcomes.get()
    return result


def _one(
    rank: int,
    work: Callable[[Any], Any],
    config: object,
    processes: int,
    threads: int,
    port: int,
    outcomes: SimpleQueue[Any],
) -> None:
    """One process: describes itself as torchrun would, works, and hands its result or its error over."""
    os.setpgrp()  # The terminal's Ctrl-C reaches the parent alone, which passes it on once.
    indices = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in indices.items()} | {"MASTER_ADDR": "127.0.0.1"})
    torch.set_num_threads(threads)
    try:
        with stoppable():
            result = work(config)
    except (UnlogitError, KeyboardInterrupt) as error:
        outcomes.put(error)
        raise SystemExit(1) from None
    if rank == 0:
        outcomes.put(result)


@contextmanager
def _passing_on_signals(pids: list[int], signals: list[int]) -> Iterator[None]:
    """Pass signals on to the processes, and note them, while there may be none yet."""

    def pass_on(number: int, _frame: object) -> None:
        signals.append(number)
        _terminate(pids)

    former = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _terminate(pids: list[int]) -> None:
    # SIGTERM for SIGINT too, which a process that is still importing would answer with a traceback.
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
