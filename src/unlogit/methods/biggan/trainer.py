"""The paper's method: a generator against a discriminator, one loss alone (Teterwak et al. 2021, section 3).

Departs from it only by options, each told as an aid in every figure: a warm start, a layout term and the projected
discriminator; and three ablations:

- `reencoding_weight`: the squared error of the reconstruction's own representation, standardised, as a second loss: the
  consistency that perceptual losses have (Dosovitskiy and Brox 2016a, equation 3), with the inverted classifier as the
  comparator.
- `adversarial` "relativistic": the loss of R3GAN (Huang, Gokaslan, Kuleshov and Tompkin, NeurIPS 2024, equation 2),
  softplus of the difference between a fake and the real picture of the same representation.
- `gradient_penalty`: R1 and R2 (Mescheder et al. 2018), both of which R3GAN needs, with that gamma.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.classifiers import Classifier
from unlogit.methods._data import NOISE_D, NOISE_G, SHIFT_FAKE_D, SHIFT_FAKE_G, SHIFT_REAL
from unlogit.methods._trained import LearnedInverter
from unlogit.methods._trainer import Trainer, frozen
from unlogit.methods.biggan import losses
from unlogit.methods.biggan.augment import translated
from unlogit.methods.biggan.config import BigGANConfig
from unlogit.methods.biggan.discriminator import Discriminator
from unlogit.methods.biggan.generator import Generator, folded, standing_statistics
from unlogit.methods.biggan.inverter import GeneratorInverter
from unlogit.methods.biggan.layers import still
from unlogit.methods.biggan.projected import ProjectedDiscriminator
from unlogit.methods.biggan.widening import widened
from unlogit.runtime import distributed

WARM_LEARNING_RATE = 1e-3
R1_EVERY = 8
MAPS_PICTURES = 256
STANDING_PICTURES = 1_024


class BigGANTrainer(Trainer[BigGANConfig]):
    """Generator, discriminator, and an optimiser each; a third for the warm start."""

    @property
    def source(self) -> str:
        return "Teterwak et al., ICML 2021"

    def setup(self) -> None:
        config, method, dim = self.config, self.method, self.data.representation.dim
        place: dict[str, Any] = {"device": self.device, "memory_format": torch.channels_last}
        self.generator = self.network = Generator(dim, method.generator).to(**place)
        self.generator.recompute = method.micro_batch > 0
        discriminator: Discriminator | ProjectedDiscriminator = (
            ProjectedDiscriminator(dim, method.size, method.discriminator, config.seed)
            if method.discriminator.kind == "projected"
            else Discriminator(dim, method.size, method.discriminator)
        )
        self.discriminator = discriminator.to(**place)
        self.optimiser_g = self.adam(self.generator.parameters(), method.learning_rate_g, method.betas)
        trained = [p for p in self.discriminator.parameters() if p.requires_grad]
        self.optimiser_d = self.adam(trained, method.learning_rate_d, method.betas)
        self.optimiser_warm = self.adam(self.generator.parameters(), WARM_LEARNING_RATE, (0.9, 0.999))

    def frozen_networks(self) -> dict[str, Classifier]:
        one = self.discriminator
        names = ("discriminator.network", "discriminator.second_network")
        scoring = dict(zip(names, one.networks, strict=False)) if isinstance(one, ProjectedDiscriminator) else {}
        return super().frozen_networks() | scoring

    def begin(self) -> None:
        if isinstance(self.discriminator, ProjectedDiscriminator):
            self.discriminator.calibrate(torch.cat(list(self.data.first(MAPS_PICTURES))))
        super().begin()

    def starting_network(self, begun: LearnedInverter) -> nn.Module:
        """Return its generator, widened where this run's has more channels and is the same in all else."""
        network, wanted = begun.network, replace(self.method.generator, spectral_norm=False)
        if not isinstance(network, Generator) or network.config.channels >= wanted.channels:
            return network
        same = wanted.attention is None and replace(network.config, channels=wanted.channels) == wanted
        return widened(network, wanted.channels, self.config.seed) if same else network

    def start_discriminator(self, begun: LearnedInverter) -> None:
        """Take over what was saved; a part that it lacks, such as the pixel branch, begins with random weights."""
        own, saved = self.discriminator.state_dict(), begun.discriminator
        if all(name in own and own[name].shape == value.shape for name, value in saved.items()):
            self.discriminator.load_state_dict(saved, strict=False)
        elif distributed.rank() == 0:
            print(
                f"warning: the discriminator saved in '{self.config.start}' is of another kind or shape: "
                "this run's begins with random weights; consider --discriminator-first",
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
    def step_pictures(self) -> int:
        return self.config.batch * self.method.d_steps

    @property
    def relativistic(self) -> bool:
        return self.method.adversarial == "relativistic"

    def noise(self, position: int, which: int) -> Tensor:
        return self.data.noise(position, which, self.method.generator.noise)

    def shifts(self, position: int, which: int) -> Tensor | None:
        return self.data.uniform(position, which, 2) if self.method.translation else None

    def seen(self, images: Tensor, shifts: Tensor | None, part: slice) -> list[Tensor]:
        """What the discriminator's trained part gets of some of the pictures, shifted where that is asked for."""
        images = images[part] if shifts is None else translated(images[part], shifts[part])
        return self.discriminator.frozen(images)

    def parts_of(self, pictures: int) -> list[tuple[slice, float, AbstractContextManager[None]]]:
        """The micro-batches: which pictures, their share, and the discriminator held still after the first.

        Its spectral norms take their power iteration once, as in a pass of the whole batch.
        """
        size = self.method.micro_batch or pictures
        cuts = [slice(i, min(i + size, pictures)) for i in range(0, pictures, size)]
        return [
            (
                cut,
                (cut.stop - cut.start) / pictures,
                still(self.discriminator) if cut.start else contextlib.nullcontext(),
            )
            for cut in cuts
        ]

    def step(self) -> dict[str, Tensor]:
        if self.images < self.method.warm_start:
            return self._warm_step()
        alone = self.method.warm_start + self.method.discriminator_first
        return self._discriminator_step() if self.images < alone else self._adversarial_step()

    def _warm_step(self) -> dict[str, Tensor]:
        """Fit the generator alone to the coarse layout."""
        for group in self.optimiser_warm.param_groups:
            group["lr"] = self.rate * WARM_LEARNING_RATE * (1 - 0.9 * self.images / self.method.warm_start)
        images, representation = self.data.pair(self.images)
        with self.precision:
            fake = self.generator(representation, self.noise(self.images, NOISE_G))
        loss = losses.warm_start_loss(fake, images)
        self.update(self.generator, self.optimiser_warm, loss)
        self.images += self.config.batch
        return {"loss_warm": loss.detach(), "layout": losses.layout_loss(fake, images).detach()}

    def _discriminator_step(self) -> dict[str, Tensor]:
        """The discriminator alone, against a generator that stays as it is."""
        images, representation = self.data.pair(self.images)
        with self.precision, torch.no_grad():
            fake = self.generator(representation, self.noise(self.images, NOISE_D))
        told, _ = self.discriminator_step(images, fake, representation, self.images)
        self.images += self.config.batch
        return dict(told)

    def _adversarial_step(self) -> dict[str, Tensor]:
        """`d_steps` discriminator steps and one generator step."""
        config, method = self.config, self.method
        for _ in range(method.d_steps):
            position = self.images
            images, representation = self.data.pair(position)
            noise = self.noise(position, NOISE_D)
            with self.precision, torch.set_grad_enabled(method.shared_fakes):
                fake = self.generator(representation, noise)
            # Cut off from the generator, whose backward pass takes the whole batch at once.
            leaf = fake.detach().requires_grad_(method.shared_fakes)
            told, seen_fake = self.discriminator_step(images, leaf, representation, position)
            self.images += config.batch
        if not method.shared_fakes:
            with self.precision:
                fake = self.generator(representation, self.noise(position, NOISE_G))
            leaf, seen_fake = fake.detach().requires_grad_(), []
        told |= self.generator_step(images, leaf, seen_fake, representation, position)
        self.optimiser_g.zero_grad(set_to_none=True)
        fake.backward(leaf.grad)
        self.apply(self.generator, self.optimiser_g)
        return dict(told)

    def discriminator_step(
        self, images: Tensor, fake: Tensor, representation: Tensor, position: int
    ) -> tuple[_Sums, list[list[Tensor]]]:
        """One step of the discriminator; figures, and what it saw of the fakes, with gradients if they are shared."""
        config, method, told, kept = self.config, self.method, _Sums(), []
        shifts_real, shifts_fake = self.shifts(position, SHIFT_REAL), self.shifts(position, SHIFT_FAKE_D)
        judge = losses.relativistic_loss if self.relativistic else losses.discriminator_loss
        self.optimiser_d.zero_grad(set_to_none=True)
        for part, share, steady in self.parts_of(len(images)):
            with self.precision, steady:
                with torch.no_grad():
                    seen_real = self.seen(images, shifts_real, part)
                with torch.set_grad_enabled(method.shared_fakes):
                    seen_fake = self.seen(fake, shifts_fake, part)
                # One pass for real and fake: the discriminator has no batch statistics that could mix them.
                both = [torch.cat([r, f.detach()]) for r, f in zip(seen_real, seen_fake, strict=True)]
                scores = self.discriminator.judge(both, representation[part].repeat(2, 1))
                real, fakes = zip(*(s.float().chunk(2) for s in scores), strict=True)
                loss = judge(real, fakes, self.discriminator.weights)
            (share * loss).backward()
            told.add(share, loss_d=loss, score_real=_mean(real), score_fake=_mean(fakes))
            kept.append(seen_fake)
        branch = getattr(self.discriminator, "pixels", None)
        if method.r1 and branch is not None and position // config.batch % R1_EVERY == 0:
            penalty = losses.r1_penalty(lambda pixels: branch(pixels, representation), images)
            (method.r1 * R1_EVERY * penalty).backward()
            told.add(R1_EVERY, r1=penalty)  # A mean over steps, of which each eighth has one.
        if method.gradient_penalty:
            for part, share, steady in self.parts_of(len(images)):
                with steady:
                    penalty = losses.gradient_penalty(
                        self.discriminator, images[part], fake[part], representation[part]
                    )
                (share * method.gradient_penalty * penalty).backward()
                told.add(share, penalty=penalty)
        self.apply(self.discriminator, self.optimiser_d)
        return told, kept if method.shared_fakes else []

    def generator_step(
        self, images: Tensor, fake: Tensor, shared: list[list[Tensor]], representation: Tensor, position: int
    ) -> _Sums:
        """The generator's loss; its slope at the fakes is left in `fake.grad`, and figures are returned."""
        method, told = self.method, _Sums()
        shifts_real, shifts_fake = self.shifts(position, SHIFT_REAL), self.shifts(position, SHIFT_FAKE_G)
        for at, (part, share, steady) in enumerate(self.parts_of(len(images))):
            mine = representation[part]
            with self.precision, steady, frozen(self.discriminator):
                seen_fake = shared[at] if shared else self.seen(fake, shifts_fake, part)
                scores = [s.float() for s in self.discriminator.judge(seen_fake, mine)]
                if self.relativistic:
                    with torch.no_grad(), still(self.discriminator):
                        seen_real = self.seen(images, shifts_real, part)
                        against = [s.float() for s in self.discriminator.judge(seen_real, mine)]
                    loss = losses.relativistic_loss(scores, against, self.discriminator.weights)
                else:
                    loss = losses.generator_loss(scores, self.discriminator.weights)
            layout = losses.layout_loss(fake[part], images[part])
            told.add(share, loss_g=loss, layout=layout)
            total = loss + method.layout_weight * layout if method.layout_weight else loss
            if method.spectral_weight:
                spectral = losses.spectral_loss(fake[part], images[part])
                told.add(share, spectral=spectral)
                total = total + method.spectral_weight * spectral
            if method.reencoding_weight:
                reencoded = self.data.representation.standardise(self.data.representation.encode(fake[part]))
                reencoding = F.mse_loss(reencoded, mine)
                told.add(share, reencoding=reencoding)
                total = total + method.reencoding_weight * reencoding
            (share * total).backward()
        return told

    def inverter(self, facts: dict[str, Any]) -> GeneratorInverter:
        config, method = self.config, self.method
        average: nn.Module = self.average.module
        assert isinstance(average, Generator)
        generator = folded(average)
        batches = range(max(1, STANDING_PICTURES // config.batch))
        positions = [i * config.batch for i in batches]
        standing_statistics(generator, ((self.data.pair(p)[1], self.noise(p, NOISE_G)) for p in positions))
        facts |= {
            "warm_start_pictures": method.warm_start,
            "layout_weight": method.layout_weight,
            "discriminator": method.discriminator.kind,
        }
        inverter = GeneratorInverter(self.data.representation, generator, facts, config.out.name)
        inverter.discriminator = {k: v.clone() for k, v in self.discriminator.state_dict().items()}
        return inverter


class _Sums(dict[str, Tensor]):
    """Means over a batch, from those over its parts."""

    def add(self, share: float, **values: Tensor) -> None:
        for name, value in values.items():
            self[name] = self.get(name, 0) + share * value.detach()


def _mean(heads: Sequence[Tensor]) -> Tensor:
    return torch.stack([h.detach().mean() for h in heads]).mean()


TRAINER = BigGANTrainer
