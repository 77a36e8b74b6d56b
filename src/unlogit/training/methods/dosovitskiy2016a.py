"""A decoder by adversarial, feature and pixel losses together: DeePSiM (Dosovitskiy and Brox 2016a).

Dosovitskiy and Brox, "Generating Images with Perceptual Similarity Metrics based on Deep Networks", NeurIPS 2016,
equations 2 to 5. The adversarial loss is the logistic one, G being updated by -log D(G); the discriminator sees the
representation too. As in their code, one of the two is not updated while it is far ahead: the discriminator below a
tenth of the generator's loss, until it is above half of it; the generator while the discriminator is above ten times.

Departs in the losses' scale, see `AdversarialComparisonConfig`; in the networks' widths; in that the discriminator has
no dropout; and in that one network, the one that is inverted or any other, is the comparator instead of AlexNet.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit import distributed
from unlogit.networks import JointDiscriminator
from unlogit.training.methods import dosovitskiy2016b
from unlogit.training.methods._base import frozen
from unlogit.training.options import AdversarialComparisonConfig

PAUSE, GO_ON, LOST = 0.1, 0.5, 10.0
"""Ratios of the discriminator's loss to the generator's adversarial one: theirs."""


class Balance(nn.Module):
    """Which of the two is updated; buffers, so that a checkpoint tells it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("discriminator", torch.ones((), dtype=torch.bool))
        self.register_buffer("generator", torch.ones((), dtype=torch.bool))

    def weigh(self, loss_d: Tensor, loss_g: Tensor) -> None:
        """Decide for the next step, alike on all processes."""
        judged, fooled = distributed.mean([float(loss_d.detach()), float(loss_g.detach())])
        ratio = judged / max(fooled, 1e-12)
        if ratio < PAUSE:
            self._set(discriminator=False, generator=True)
        elif ratio > LOST:
            self._set(discriminator=True, generator=False)
        elif ratio > GO_ON:
            self._set(discriminator=True, generator=True)

    def _set(self, **on: bool) -> None:
        for name, value in on.items():
            getattr(self, name).fill_(value)


class Learning(dosovitskiy2016b.Learning):
    """A decoder, its comparator, and a discriminator."""

    SOURCE: ClassVar[str] = "Dosovitskiy and Brox, NeurIPS 2016"

    @property
    def options(self) -> AdversarialComparisonConfig:
        return self.config.dosovitskiy2016a

    def setup(self) -> None:
        super().setup()
        options, config = self.options, self.config
        discriminator = JointDiscriminator(self.feed.representation.dim, config.size, config.decoder)
        self.discriminator = discriminator.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser_d = self.adam(self.discriminator.parameters(), options.learning_rate, options.betas)
        self.balance = Balance()

    def parts(self) -> dict[str, Any]:
        more = {"discriminator": self.discriminator, "optimiser_d": self.optimiser_d, "balance": self.balance}
        return super().parts() | more

    def step(self) -> dict[str, Tensor]:
        images, representation = self.feed.pair(self.images)
        with self.precision:
            made = self.decoder(representation)
            both = self.discriminator(torch.cat([images, made.detach()]), representation.repeat(2, 1)).float()
            real, fake = both.chunk(2)
            loss_d = F.softplus(-real).mean() + F.softplus(fake).mean()
        judging, making = bool(self.balance.discriminator), bool(self.balance.generator)
        if judging:
            self.update(self.discriminator, self.optimiser_d, loss_d)
        with self.precision:
            with frozen(self.discriminator):
                loss_g = F.softplus(-self.discriminator(made, representation).float()).mean()
            loss, told = self.compare(made, images)
            loss = loss + self.options.adversarial * loss_g
        if making:
            self.update(self.decoder, self.optimiser, loss)
        self.balance.weigh(loss_d, loss_g)
        self.images += self.config.batch
        told |= {"updated_d": torch.tensor(float(judging)), "updated_g": torch.tensor(float(making))}
        return {"loss": loss.detach(), "loss_d": loss_d.detach(), "loss_g": loss_g.detach()} | told

    def inverter(self, facts: dict[str, Any]) -> Any:
        return super().inverter(facts | {"adversarial_weight": self.options.adversarial})
