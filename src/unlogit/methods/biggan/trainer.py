"""The paper's method: a generator against a discriminator, one loss alone (Teterwak et al. 2021, section 3).

`BigGANTrainer.adversarial_step` is that section, and `losses` has its equations. Options depart from it, each named as
a deviation in every figure: a warm start, a layout term and the projected discriminator; and three ablations:

- `reencoding_weight`: the squared error of the reconstruction's own representation, standardised, as a second loss: the
  consistency that perceptual losses have (Dosovitskiy and Brox 2016a, equation 3), with the inverted classifier as the
  comparator.
- `adversarial` "relativistic": the loss of R3GAN (Huang, Gokaslan, Kuleshov and Tompkin, NeurIPS 2024, equation 2),
  softplus of the difference between a fake and the real image of the same representation.
- `gradient_penalty`: R1 and R2 (Mescheder et al. 2018), both of which R3GAN needs, with that gamma.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.classifiers import Classifier
from unlogit.methods._data import NOISE_D, NOISE_G, SHIFT_FAKE_D, SHIFT_FAKE_G, SHIFT_REAL
from unlogit.methods._trained import LearnedInverter
from unlogit.methods._trainer import Trainer, freeze_parameters
from unlogit.methods.biggan import losses
from unlogit.methods.biggan.augment import translated
from unlogit.methods.biggan.batch import Batch, Means, MicroBatch, split
from unlogit.methods.biggan.config import BigGANConfig
from unlogit.methods.biggan.discriminator import Discriminator
from unlogit.methods.biggan.generator import Generator, folded, standing_statistics
from unlogit.methods.biggan.inverter import GeneratorInverter
from unlogit.methods.biggan.layers import no_power_iteration
from unlogit.methods.biggan.projected import ProjectedDiscriminator
from unlogit.methods.biggan.widening import widened
from unlogit.runtime import distributed

WARM_LEARNING_RATE = 1e-3
R1_EVERY = 8
CALIBRATION_IMAGES = 256
STANDING_IMAGES = 1_024


class BigGANTrainer(Trainer[BigGANConfig]):
    """Generator, discriminator, and an optimiser each; a third for the warm start."""

    @property
    def source(self) -> str:
        return "Teterwak et al., ICML 2021"

    def setup(self) -> None:
        config, method, dim = self.config, self.method, self.data.representation.dim
        placement: dict[str, Any] = {"device": self.device, "memory_format": torch.channels_last}
        self.generator = self.network = Generator(dim, method.generator).to(**placement)
        self.generator.recompute = method.micro_batch > 0
        discriminator: Discriminator | ProjectedDiscriminator = (
            ProjectedDiscriminator(dim, method.size, method.discriminator, config.seed)
            if method.discriminator.kind == "projected"
            else Discriminator(dim, method.size, method.discriminator)
        )
        self.discriminator = discriminator.to(**placement)
        self.optimiser_g = self.adam(self.generator.parameters(), method.learning_rate_g, method.betas)
        trained = [p for p in self.discriminator.parameters() if p.requires_grad]
        self.optimiser_d = self.adam(trained, method.learning_rate_d, method.betas)
        self.optimiser_warm = self.adam(self.generator.parameters(), WARM_LEARNING_RATE, (0.9, 0.999))

    def frozen_networks(self) -> dict[str, Classifier]:
        discriminator = self.discriminator
        names = ("discriminator.network", "discriminator.second_network")
        scoring: dict[str, Classifier] = {}
        if isinstance(discriminator, ProjectedDiscriminator):
            scoring = dict(zip(names, discriminator.networks, strict=False))
        return super().frozen_networks() | scoring

    def begin(self) -> None:
        if isinstance(self.discriminator, ProjectedDiscriminator):
            self.discriminator.calibrate(torch.cat(list(self.data.first(CALIBRATION_IMAGES))))
        super().begin()

    def starting_network(self, begun: LearnedInverter) -> nn.Module:
        """Return its generator, widened where this run's has more channels and is otherwise the same."""
        network, wanted = begun.network, replace(self.method.generator, spectral_norm=False)
        if not isinstance(network, Generator) or network.config.channels >= wanted.channels:
            return network
        same = wanted.attention is None and replace(network.config, channels=wanted.channels) == wanted
        return widened(network, wanted.channels, self.config.seed) if same else network

    def start_discriminator(self, begun: LearnedInverter) -> None:
        """Load the saved weights of the parts that this run has, such as the second network's heads.

        A part without saved weights begins with random ones.
        """
        own = self.discriminator.state_dict()
        parts = {_part(name) for name in own}
        saved = {name: value for name, value in begun.discriminator.items() if _part(name) in parts}
        fits = bool(saved) or not begun.discriminator
        if fits and all(name in own and own[name].shape == value.shape for name, value in saved.items()):
            self.discriminator.load_state_dict(saved, strict=False)
        elif distributed.rank() == 0:
            print(
                f"warning: the discriminator saved in '{self.config.start}' does not fit this run, whose "
                "discriminator begins with random weights; consider --discriminator-first",
                file=sys.stderr,
            )

    def parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "optimiser_g": self.optimiser_g,
            "optimiser_d": self.optimiser_d,
            "optimiser_warm": self.optimiser_warm,
        }

    @property
    def step_images(self) -> int:
        return self.config.batch * self.method.d_steps

    def step(self) -> dict[str, Tensor]:
        warm_start, discriminator_first = self.method.turns
        if self.images < warm_start:
            return self.warm_start_step()
        if self.images < discriminator_first:
            return self.adversarial_step(d_steps=1, update_generator=False)
        return self.adversarial_step(self.method.d_steps)

    def adversarial_step(self, d_steps: int, *, update_generator: bool = True) -> dict[str, Tensor]:
        """Update the discriminator D `d_steps` times, then the generator G once: section 3 of the paper.

        With real images x, their representations z and noise eps:

            loss of D = E max(-1, D(G(z, eps), z)) - E min(1, D(x, z))
            loss of G = -E D(G(z, eps), z)
        """
        shared = self.method.shared_fakes and update_generator
        for _ in range(d_steps):
            x, z = self.data.pair(self.images)
            batch = self.generate(self.images, x, z, NOISE_D, SHIFT_FAKE_D, update_generator=shared)
            self.optimiser_d.zero_grad(set_to_none=True)
            metrics = self.backward(self.discriminator_loss, batch)
            metrics |= self.backward_penalties(batch)
            self.apply(self.discriminator, self.optimiser_d)
            self.images += self.config.batch
        if not update_generator:
            return metrics
        if not shared:
            batch = self.generate(batch.position, x, z, NOISE_G, SHIFT_FAKE_G, update_generator=True)
        self.optimiser_g.zero_grad(set_to_none=True)
        metrics |= self.backward(self.generator_loss, batch)
        batch.generated.backward(batch.fakes.grad)
        self.apply(self.generator, self.optimiser_g)
        return metrics

    def discriminator_loss(self, part: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return D's loss and the mean scores of real images and of fakes."""
        shared = part.fakes.requires_grad
        with self.precision:
            with torch.no_grad():
                real_features = self.extract_features(part.images, part.shifts_real)
            with torch.set_grad_enabled(shared):
                fake_features = self.extract_features(part.fakes, part.shifts_fake)
            # One pass for real and fake: the discriminator has no batch statistics that could mix them.
            features = [torch.cat([r, f.detach()]) for r, f in zip(real_features, fake_features, strict=True)]
            scores = self.score(features, part.representation.repeat(2, 1))
            real, fake = zip(*(s.chunk(2) for s in scores), strict=True)
            compare = losses.relativistic_loss if self.relativistic else losses.discriminator_loss
            loss = compare(real, fake, self.discriminator.weights)
        part.fake_features = fake_features if shared else None
        return loss, {"loss_d": loss, "score_real": _mean(real), "score_fake": _mean(fake)}

    def generator_loss(self, part: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return G's loss, the sum of the adversarial one and of `extra_losses`, and each of them by itself."""
        weights = self.discriminator.weights
        with self.precision, freeze_parameters(self.discriminator):
            features = part.fake_features or self.extract_features(part.fakes, part.shifts_fake)
            scores = self.score(features, part.representation)
            if self.relativistic:
                loss = losses.relativistic_loss(scores, self.score_real(part), weights)
            else:
                loss = losses.generator_loss(scores, weights)
        extra = self.extra_losses(part)
        total = loss
        for weight, value in extra.values():
            total = total + weight * value if weight else total
        return total, {"loss_g": loss} | {name: value for name, (_, value) in extra.items()}

    # Around the step: extensions beyond the paper, and micro-batches

    def warm_start_step(self) -> dict[str, Tensor]:
        """Train the generator alone on the coarse layout."""
        for group in self.optimiser_warm.param_groups:
            group["lr"] = self.rate * WARM_LEARNING_RATE * (1 - 0.9 * self.images / self.method.warm_start)
        images, representation = self.data.pair(self.images)
        with self.precision:
            fakes = self.generator(representation, self.noise(self.images, NOISE_G))
        loss = losses.warm_start_loss(fakes, images)
        self.update(self.generator, self.optimiser_warm, loss)
        self.images += self.config.batch
        return {"loss_warm": loss.detach(), "layout": losses.layout_loss(fakes, images).detach()}

    def generate(
        self,
        position: int,
        images: Tensor,
        representation: Tensor,
        noise_stream: int,
        shift_stream: int,
        *,
        update_generator: bool,
    ) -> Batch:
        """Return a batch with its reconstructions, with the generator's graph where they update it."""
        with self.precision, torch.set_grad_enabled(update_generator):
            generated = self.generator(representation, self.noise(position, noise_stream))
        shifts = self.shifts(position, SHIFT_REAL), self.shifts(position, shift_stream)
        return split(position, images, representation, generated, shifts, self.method.micro_batch)

    def backward(self, compute: Callable[[MicroBatch], tuple[Tensor, dict[str, Tensor]]], batch: Batch) -> Means:
        """Add up the gradients of a loss over micro-batches; return the means of its metrics over the batch.

        Spectral norms take one power iteration, in the first part, as in a pass of the whole batch.
        """
        metrics = Means()
        for i, part in enumerate(batch.parts):
            with no_power_iteration(self.discriminator) if i else contextlib.nullcontext():
                loss, values = compute(part)
            (part.share * loss).backward()
            metrics.add(part.share, values)
        return metrics

    def backward_penalties(self, batch: Batch) -> Means:
        """Add the gradients of the discriminator's gradient penalties, where there are any."""
        method, metrics = self.method, Means()
        branch = getattr(self.discriminator, "pixels", None)
        if method.r1 and branch is not None and batch.position // self.config.batch % R1_EVERY == 0:
            penalty = losses.r1_penalty(lambda pixels: branch(pixels, batch.representation), batch.images)
            (method.r1 * R1_EVERY * penalty).backward()
            metrics.add(R1_EVERY, {"r1": penalty})  # The mean over steps, since only every eighth computes it.
        if method.gradient_penalty:
            metrics |= self.backward(self.gradient_penalty, batch)
        return metrics

    def gradient_penalty(self, part: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of R1 and R2, and the sum by itself."""
        penalty = losses.gradient_penalty(self.discriminator, part.images, part.fakes, part.representation)
        return self.method.gradient_penalty * penalty, {"penalty": penalty}

    def extra_losses(self, part: MicroBatch) -> dict[str, tuple[float, Tensor]]:
        """Return the losses beside the adversarial one, each with its weight; the layout's is a metric of every run."""
        method, representation = self.method, self.data.representation
        extra = {"layout": (method.layout_weight, losses.layout_loss(part.fakes, part.images))}
        if method.spectral_weight:
            extra["spectral"] = method.spectral_weight, losses.spectral_loss(part.fakes, part.images)
        if method.reencoding_weight:
            with self.precision:
                raw = representation.encode(part.fakes)
            reencoded = representation.standardise(raw)
            extra["reencoding"] = method.reencoding_weight, F.mse_loss(reencoded, part.representation)
        return extra

    @property
    def relativistic(self) -> bool:
        return self.method.adversarial == "relativistic"

    @torch.no_grad()
    def score_real(self, part: MicroBatch) -> list[Tensor]:
        """Return the scores of the real images, for a loss of the generator that compares with them."""
        with no_power_iteration(self.discriminator):
            return self.score(self.extract_features(part.images, part.shifts_real), part.representation)

    def score(self, features: list[Tensor], representation: Tensor) -> list[Tensor]:
        """Return the discriminator's scores in float32, one tensor per head."""
        return [scores.float() for scores in self.discriminator.score(features, representation)]

    def extract_features(self, images: Tensor, shifts: Tensor | None) -> list[Tensor]:
        """Return the input of the discriminator's trained part: features of the images, translated by `shifts`."""
        return self.discriminator.extract_features(images if shifts is None else translated(images, shifts))

    def noise(self, position: int, stream: int) -> Tensor:
        return self.data.noise(position, stream, self.method.generator.noise)

    def shifts(self, position: int, stream: int) -> Tensor | None:
        return self.data.uniform(position, stream, 2) if self.method.translation else None

    def inverter(self, facts: dict[str, Any]) -> GeneratorInverter:
        config, method = self.config, self.method
        average: nn.Module = self.average.module
        assert isinstance(average, Generator)
        generator = folded(average)
        batches = range(max(1, STANDING_IMAGES // config.batch))
        positions = [i * config.batch for i in batches]
        standing_statistics(generator, ((self.data.pair(p)[1], self.noise(p, NOISE_G)) for p in positions))
        facts |= {
            "warm_start_images": method.warm_start,
            "layout_weight": method.layout_weight,
            "discriminator": method.discriminator.kind,
        }
        inverter = GeneratorInverter(self.data.representation, generator, facts, config.out.name)
        inverter.discriminator = {k: v.clone() for k, v in self.discriminator.state_dict().items()}
        return inverter


def _mean(scores: Sequence[Tensor]) -> Tensor:
    """Return the mean over heads of their mean scores."""
    return torch.stack([head.detach().mean() for head in scores]).mean()


def _part(name: str) -> str:
    """Return the part of a discriminator that a parameter belongs to."""
    return name.partition(".")[0]


TRAINER = BigGANTrainer
