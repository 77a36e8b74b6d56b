"""How long the page takes to answer a slider: `python benchmarks/explore.py INVERTER...`.

Of each inverter alone, over all of the photographs: from a moved slider (the state differs, the image's encoding is
kept) to the page's HTML with the new images in it, and the first answer to a new image, which encodes it. Wall
time and the processor time of this process are given, since on a busy machine the two differ.

Exits with 1 where the median processor time of a moved slider is above 200 ms.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time

import torch
import tyro

from unlogit.methods import called, open_inverter
from unlogit.web.explorer import shown
from unlogit.web.explorer.answer import Explorer
from unlogit.web.explorer.gallery import Gallery
from unlogit.web.explorer.state import State

LIMIT_MS = 200


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """Which inverters, how often."""

    inverters: tyro.conf.Positional[tuple[str, ...]]
    """As for unlogit explore."""
    moves: int = 5
    """Of the slider, on each of the photographs."""


def timed(explorer: Explorer, state: State) -> tuple[float, float]:
    """Wall and processor time in milliseconds of what one update of the page computes."""
    wall, cpu = time.perf_counter(), time.process_time()
    answers = explorer.answer(state)
    shown.stage(state, answers[0].seen, None, answers)
    shown.evidence(answers, True)
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def main(config: BenchmarkConfig) -> int:
    slow = False
    print(f"{'ms, median':<24}{'slider wall':>12}{'slider cpu':>12}{'image wall':>14}{'image cpu':>13}")
    for given in config.inverters:
        name, spec = called(given)
        inverter = open_inverter(spec)
        explorer = Explorer({name: inverter}, Gallery([inverter.size]))
        addresses = list(explorer.gallery.offered())
        for address in addresses:  # Decoded already, and warm.
            explorer.gallery.views(address)
        timed(explorer, State(addresses[0]))
        images, moves = [], []
        for address in addresses[1:]:
            images.append(timed(explorer, State(address)))
            for move in range(config.moves):
                moves.append(timed(explorer, State(address, shift=0.1 * (move + 1), noise=0.5)))
        medians = [statistics.median(column) for rows in (moves, images) for column in zip(*rows, strict=True)]
        print(f"{name:<24}{medians[0]:>12.0f}{medians[1]:>12.0f}{medians[2]:>14.0f}{medians[3]:>13.0f}")
        slow = slow or medians[1] > LIMIT_MS
    print(f"{torch.get_num_threads()} threads")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(BenchmarkConfig)))
