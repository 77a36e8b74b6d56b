"""Images a second of one process and of several: `python benchmarks/scaling.py --processes 1 2`.

Every process holds the same number of images (weak scaling) on one thread, or one GPU, and does whole training steps
on a batch that stays the same, by the code that training itself runs: batch statistics and gradients over all. Times
are the clock's, since waiting for each other counts: the machine should be idle. Efficiency is the images per second
of one of several against one alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import torch
import tyro
from _machine import machine

from unlogit.methods.biggan.config import DiscriminatorConfig, GeneratorConfig
from unlogit.runtime import distributed
from unlogit.runtime.device import pick_device, seconds
from unlogit.runtime.launch import launch
from unlogit.training.bench import BenchConfig, synthetic


@dataclass(frozen=True)
class Scaling:
    """What is measured."""

    processes: tuple[int, ...] = (1, 2)
    batch: int = 16
    """Images a process."""
    size: int = 32
    channels: int = 16
    rounds: int = 7
    """Steps, and one before that does not count."""


def measure(given: Scaling) -> float:
    """Seconds of a step; one process's share of it."""
    torch.set_num_threads(1)
    device = pick_device()
    distributed.start(device)
    try:
        learning = synthetic(
            BenchConfig(
                GeneratorConfig(given.size, channels=given.channels, noise=120, attention=16),
                DiscriminatorConfig(channels=given.channels, attention=16),
                batch=given.batch,
            ),
            device,
        )
        learning.step()
        times = []
        for _ in range(given.rounds):
            distributed.barrier()
            times.append(seconds(learning.step, time.perf_counter))
        return median(times)
    finally:
        distributed.stop()


def main(given: Scaling) -> None:
    torch.set_num_threads(1)
    print(f"{machine()} a process; {given}\n\n| processes | s a step | images/s | efficiency |\n|---|---|---|---|")
    alone = None
    for processes in given.processes:
        taken = launch(measure, given, processes)
        rate = processes * 2 * given.batch / taken
        alone = alone or rate / processes
        print(f"| {processes} | {taken:.3f} | {rate:.1f} | {rate / processes / alone:.0%} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Scaling, description=__doc__))
