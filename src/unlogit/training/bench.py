"""Measure the speed of training and reconstruction on this machine (`unlogit bench`)."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from unlogit.classifiers import open_classifier
from unlogit.images import Loader, View, open_images
from unlogit.methods import TrainConfig
from unlogit.methods.biggan import BigGANConfig
from unlogit.methods.biggan.generator import folded
from unlogit.methods.biggan.trainer import BigGANTrainer
from unlogit.runtime.device import autocast, described, matmul_peak, pick_device, seconds
from unlogit.runtime.progress import announce
from unlogit.training.bench_config import BenchConfig
from unlogit.trust import trusting


@dataclass(frozen=True)
class Speed:
    """Speed of one measured task.

    Attributes:
        images_per_second: images per second, the median over rounds.
        flop: counted floating-point operations per image; None for tasks without multiplications.
        share: share of the measured peak of a large matrix product in the same precision.
    """

    name: str
    images_per_second: float
    flop: float | None
    share: float | None


def bench(config: BenchConfig) -> list[Speed]:
    """Measure each task by itself."""
    with trusting(config.trust_code):
        return _bench(config)


def _bench(config: BenchConfig) -> list[Speed]:
    device = pick_device(config.device)
    with autocast(device, config.precision) as cast:
        peak = matmul_peak(torch.bfloat16 if cast._enabled else torch.float32, device=device)
    size, batch = config.generator.size, config.batch
    images = torch.rand(batch, 3, size, size, device=device)
    trainer = synthetic(config, device)
    inverter = folded(trainer.generator)
    _, representation = trainer.data.pair(0)
    noise = torch.randn(batch, config.generator.noise, device=device)

    def reconstruct() -> None:
        with torch.inference_mode(), autocast(device, config.precision):
            inverter(representation, noise)

    def speed(name: str, run: Callable[[], object], count: int, *, multiplies: bool = True) -> Speed:
        announce(f"measuring: {name}")
        with FlopCounterMode(display=False) as counter:
            run()
        duration = median(seconds(run) for _ in range(config.rounds))
        flop = counter.get_total_flops() if multiplies else None
        return Speed(name, count / duration, flop and flop / count, flop and flop / duration / peak)

    speeds = [
        speed("training step", trainer.step, batch * config.d_steps),
        speed("reconstruction", reconstruct, batch),
    ]
    if config.classifier is not None:
        classifier = open_classifier(config.classifier).to(device)

        def classify() -> None:
            with torch.inference_mode():
                classifier(images)

        speeds.append(speed("classifier", classify, batch))
    if config.images is not None:
        loader = Loader(open_images(config.images), View(size, reduced=True), batch, seed=0)
        positions = iter(range(0, sys.maxsize, batch))
        speeds.append(speed("reading", lambda: loader.batch(next(positions)), batch, multiplies=False))
    return speeds


def synthetic(config: BenchConfig, device: torch.device) -> BigGANTrainer:
    """Return a trainer of the paper's method on one constant random batch."""
    size, batch = config.generator.size, config.batch
    images = torch.rand(batch, 3, size, size, device=device)
    representation = torch.randn(batch, config.condition, device=device)
    data: Any = SimpleNamespace(
        representation=SimpleNamespace(dim=config.condition),
        pair=lambda _position: (images, representation),
        noise=lambda _position, _which, *shape: torch.randn(batch, *shape, device=device),
    )
    training = TrainConfig(
        images="",
        held_out="",
        classifier="",
        out=Path("unused"),
        method=BigGANConfig(
            generator=config.generator,
            discriminator=config.discriminator,
            d_steps=config.d_steps,
            micro_batch=config.micro_batch,
        ),
        batch=batch,
        precision=config.precision,
    )
    return BigGANTrainer(training, data, device)


def table(config: BenchConfig, speeds: list[Speed]) -> str:
    """Return the measured speeds as a table for a terminal."""
    lines = [f"{'':<16}{'images/s':>11}{'GFLOP each':>12}{'GFLOP/s':>10}{'of peak':>9}"]
    for speed in speeds:
        counted = ""
        if speed.flop is not None and speed.share is not None:
            counted = f"{speed.flop / 1e9:>12.2f}{speed.flop * speed.images_per_second / 1e9:>10.0f}{speed.share:>9.0%}"
        lines.append(f"{speed.name:<16}{speed.images_per_second:>11.1f}{counted}")
    device = pick_device(config.device)
    shape = f"{config.generator.size} px, width {config.generator.channels} and {config.discriminator.channels}"
    return "\n".join(
        [
            described(device),
            f"{shape}, batch {config.batch}, {config.d_steps} D steps per G step",
            *lines,
            _memory(device),
        ]
    )


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"peak memory on the device: {torch.cuda.max_memory_allocated() / 1e9:.2f} GB"
    unit = 1 if sys.platform == "darwin" else 1024
    return f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.2f} GB"
