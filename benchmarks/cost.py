"""What a training costs by arithmetic: `python benchmarks/cost.py` prints the table of docs/training.md.

The multiplications of the paper's networks at full width are counted, on no data; pictures, rate and efficiency are
assumptions, given as options. Nothing here is a measured time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import tyro
from torch.utils.flop_counter import FlopCounterMode

from unlogit.methods._trainer import frozen
from unlogit.methods.biggan import losses
from unlogit.methods.biggan.config import DiscriminatorConfig, GeneratorConfig
from unlogit.methods.biggan.discriminator import Discriminator
from unlogit.methods.biggan.generator import Generator


@dataclass(frozen=True)
class Assumptions:
    """What is not counted."""

    epochs: int = 100
    """Passes of the discriminator over ImageNet's 1,281,167 training pictures."""
    d_steps: int = 2
    peak: float = 790.0
    """TFLOP/s of one GPU in bf16: a large matrix product on an H100."""
    share: float = 0.4
    """Of that, in a training step."""
    efficiency: float = 0.9
    """Of many GPUs, against as many alone."""
    gpus: tuple[int, ...] = (1, 8, 64)
    batch: int = 64
    """For counting alone."""


PICTURES = 1_281_167
SHAPES: dict[int, Any] = {64: SimpleNamespace(noise=120, attention=32), 128: SimpleNamespace(noise=120, attention=64)}


def flop(size: int, batch: int) -> tuple[float, float]:
    """Of one picture in a discriminator step and in a generator step."""
    shape = SHAPES[size]
    with torch.device("meta"):
        generator = Generator(1000, GeneratorConfig(size=size, noise=shape.noise, attention=shape.attention))
        discriminator = Discriminator(1000, size, DiscriminatorConfig(attention=shape.attention))
        images, noise = torch.rand(batch, 3, size, size), torch.randn(batch, shape.noise)
        representation = torch.randn(batch, 1000)

    def judge() -> None:
        with torch.no_grad():
            fake = generator(representation, noise)
        scores = discriminator(torch.cat([images, fake]), representation.repeat(2, 1))
        real, made = zip(*(s.chunk(2) for s in scores), strict=True)
        losses.discriminator_loss(real, made).backward()

    def fool() -> None:
        with frozen(discriminator):
            losses.generator_loss(discriminator(generator(representation, noise), representation)).backward()

    return _counted(judge) / batch, _counted(fool) / batch


def _counted(run: Callable[[], None]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def main(given: Assumptions) -> None:
    rate = given.peak * 1e12 * given.share
    pictures = given.epochs * PICTURES
    print(
        f"{pictures / 1e6:.0f}M pictures ({given.epochs} epochs of ImageNet), {given.d_steps} D steps a G step, "
        f"{given.share:.0%} of {given.peak:g} TFLOP/s, {given.efficiency:.0%} efficiency beyond one GPU\n"
    )
    columns = [f"{n} GPU{'s' * (n > 1)}" for n in given.gpus]
    print("| side | GFLOP a picture, D step / G step | EFLOP | " + " | ".join(columns) + " |")
    print("|---|---|---|" + "---|" * len(columns))
    for size in SHAPES:
        d, g = flop(size, given.batch)
        total = pictures * (d + g / given.d_steps)
        hours = [total / rate / n / (given.efficiency if n > 1 else 1) / 3600 for n in given.gpus]
        told = [f"{h / 24:.1f} days" if h > 48 else f"{h:.1f} h" for h in hours]
        print(f"| {size} | {d / 1e9:.0f} / {g / 1e9:.0f} | {total / 1e18:.1f} | " + " | ".join(told) + " |")


if __name__ == "__main__":
    main(tyro.cli(Assumptions, description=__doc__))
