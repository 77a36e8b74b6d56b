"""What a training costs by arithmetic: `python benchmarks/cost.py` prints the table of docs/training.md.

The multiplications of the paper's networks at full width are counted, on no data; images, rate and efficiency are
assumptions, given as options. Nothing here is a measured time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import timm
import torch
import tyro
from torch.utils.flop_counter import FlopCounterMode

from unlogit.methods._trainer import freeze_parameters
from unlogit.methods.biggan import losses
from unlogit.methods.biggan.config import DiscriminatorConfig, GeneratorConfig
from unlogit.methods.biggan.discriminator import Discriminator
from unlogit.methods.biggan.generator import Generator


@dataclass(frozen=True)
class Assumptions:
    """What is not counted."""

    epochs: int = 100
    """Passes of the discriminator over ImageNet's 1,281,167 training images."""
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
    classifier: str = "resnetv2_152x2_bit.goog_in21k_ft_in1k"
    """The classifier, by timm's name, at its own size; with random crops it runs on every image."""


IMAGES = 1_281_167
SHAPES = {
    64: (GeneratorConfig(64, embedding=128, attention=64), DiscriminatorConfig(attention=32)),
    128: (GeneratorConfig(128, embedding=128, attention=64), DiscriminatorConfig(attention=64)),
}
"""compare_gan's attention: after the generator's fourth block and the discriminator's first."""


def flop(size: int, batch: int) -> tuple[float, float]:
    """Of one image in a discriminator step and in a generator step."""
    of_generator, of_discriminator = SHAPES[size]
    with torch.device("meta"):
        generator = Generator(1000, of_generator)
        discriminator = Discriminator(1000, size, of_discriminator)
        images, noise = torch.rand(batch, 3, size, size), torch.randn(batch, of_generator.noise)
        representation = torch.randn(batch, 1000)

    def judge() -> None:
        with torch.no_grad():
            fake = generator(representation, noise)
        scores = discriminator(torch.cat([images, fake]), representation.repeat(2, 1))
        real, made = zip(*(s.chunk(2) for s in scores), strict=True)
        losses.discriminator_loss(real, made).backward()

    def fool() -> None:
        with freeze_parameters(discriminator):
            losses.generator_loss(discriminator(generator(representation, noise), representation)).backward()

    return _counted(judge) / batch, _counted(fool) / batch


@torch.no_grad()
def classifier_flop(name: str) -> float:
    """Count the operations of the classifier's forward pass on one image of its own size."""
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False).eval()
        images = torch.rand(1, *timm.data.resolve_data_config(model=network)["input_size"])
    return float(_counted(lambda: network(images)))


def _counted(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def main(given: Assumptions) -> None:
    rate = given.peak * 1e12 * given.share
    images = given.epochs * IMAGES
    print(
        f"{images / 1e6:.0f}M images ({given.epochs} epochs of ImageNet), {given.d_steps} D steps per G step, "
        f"{given.share:.0%} of {given.peak:g} TFLOP/s, {given.efficiency:.0%} efficiency beyond one GPU\n"
    )
    columns = [f"{n} GPU{'s' * (n > 1)}" for n in given.gpus]
    of_classifier = classifier_flop(given.classifier)
    heads = ["side", "GFLOP per image, D step / G step / classifier", "EFLOP, networks", "EFLOP, classifier", *columns]
    print(f"| {' | '.join(heads)} |")
    print("|" + "---|" * len(heads))
    for size in SHAPES:
        d, g = flop(size, given.batch)
        networks, classifier = images * (d + g / given.d_steps), images * of_classifier
        total = networks + classifier
        hours = [total / rate / n / (given.efficiency if n > 1 else 1) / 3600 for n in given.gpus]
        durations = [f"{h / 24:.1f} days" if h > 48 else f"{h:.1f} h" for h in hours]
        each = " / ".join(f"{x / 1e9:.0f}" for x in (d, g, of_classifier))
        print(f"| {size} | {each} | {networks / 1e18:.1f} | {classifier / 1e18:.1f} | " + " | ".join(durations) + " |")


if __name__ == "__main__":
    main(tyro.cli(Assumptions, description=__doc__))
