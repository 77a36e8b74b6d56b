"""A decoder trained by pixel, feature and adversarial losses (Dosovitskiy and Brox 2016a, 2016b).

- 2016b, "Inverting Visual Representations with Convolutional Networks", CVPR 2016, equation 3: the squared error
  E ||x - f(Phi(x))||^2 alone, whose minimum is the mean of all images with that representation, and hence blurred.
- 2016a (DeePSiM), "Generating Images with Perceptual Similarity Metrics based on Deep Networks", NeurIPS 2016,
  equations 2 to 5: with a feature loss and the logistic adversarial loss, G being updated by -log D(G); the
  discriminator is given the representation too. As in their code, one of the two is not updated while it is far
  ahead: see `Balance`.

Departs in the losses' scale, see `DosovitskiyConfig`; in the networks' widths; in that the discriminator has no
dropout; and in that one network, the inverted one or any other, is the comparator instead of AlexNet.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.classifiers import Classifier, open_classifier
from unlogit.methods._trainer import Trainer, freeze_parameters
from unlogit.methods.decoder.comparator import Comparator
from unlogit.methods.decoder.config import DosovitskiyConfig
from unlogit.methods.decoder.inverter import DecoderInverter
from unlogit.methods.decoder.networks import Decoder, JointDiscriminator
from unlogit.runtime import distributed

FEATURE_IMAGES = 512
PAUSE, GO_ON, LOST = 0.1, 0.5, 10.0
"""Ratios of the discriminator's loss to the generator's adversarial loss, from the paper's code."""


class DosovitskiyTrainer(Trainer[DosovitskiyConfig]):
    """A decoder and its comparator; with an adversarial loss also a discriminator."""

    @property
    def source(self) -> str:
        return f"Dosovitskiy and Brox, {'NeurIPS' if self.method.adversarial else 'CVPR'} 2016"

    def setup(self) -> None:
        method, dim = self.method, self.data.representation.dim
        to: dict[str, Any] = {"device": self.device, "memory_format": torch.channels_last}
        self.decoder = self.network = Decoder(dim, method.size, method.decoder).to(**to)
        comparator = open_classifier(method.comparator or self.config.classifier)
        self.comparator = Comparator(comparator.fused([method.module]).to(self.device), method.module)
        self.optimiser = self.adam(self.decoder.parameters(), method.learning_rate, method.betas)
        if method.adversarial:
            self.discriminator = JointDiscriminator(dim, method.size, method.decoder).to(**to)
            self.optimiser_d = self.adam(self.discriminator.parameters(), method.learning_rate, method.betas)
            self.balance = Balance()

    def frozen_networks(self) -> dict[str, Classifier]:
        return super().frozen_networks() | ({"comparator": self.comparator.classifier} if self.method.feature else {})

    def begin(self) -> None:
        super().begin()
        if self.method.feature:
            self.comparator.calibrate(self.data.first(FEATURE_IMAGES))

    def parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"decoder": self.decoder, "comparator": self.comparator, "optimiser": self.optimiser}
        if self.method.adversarial:
            parts |= {
                "discriminator": self.discriminator,
                "optimiser_d": self.optimiser_d,
                "balance": self.balance,
            }
        return parts

    def step(self) -> dict[str, Tensor]:
        images, representation = self.data.pair(self.images)
        metrics = (self._adversarial_step if self.method.adversarial else self._plain_step)(images, representation)
        self.images += self.config.batch
        return metrics

    def _plain_step(self, images: Tensor, representation: Tensor) -> dict[str, Tensor]:
        """Minimise the pixel and feature errors (2016b)."""
        with self.precision:
            loss, metrics = self.compare(self.decoder(representation), images)
        self.update(self.decoder, self.optimiser, loss)
        return {"loss": loss.detach()} | metrics

    def _adversarial_step(self, images: Tensor, representation: Tensor) -> dict[str, Tensor]:
        """Update the discriminator, then the decoder by all three losses, each unless it is far ahead (2016a)."""
        with self.precision:
            reconstructions = self.decoder(representation)
            scores = self.discriminator(
                torch.cat([images, reconstructions.detach()]), representation.repeat(2, 1)
            ).float()
            real, fake = scores.chunk(2)
            loss_d = F.softplus(-real).mean() + F.softplus(fake).mean()
        update_d, update_g = bool(self.balance.discriminator), bool(self.balance.generator)
        if update_d:
            self.update(self.discriminator, self.optimiser_d, loss_d)
        with self.precision:
            with freeze_parameters(self.discriminator):
                loss_g = F.softplus(-self.discriminator(reconstructions, representation).float()).mean()
            loss, metrics = self.compare(reconstructions, images)
            loss = loss + self.method.adversarial * loss_g
        if update_g:
            self.update(self.decoder, self.optimiser, loss)
        self.balance.weigh(loss_d, loss_g)
        metrics |= {"updated_d": torch.tensor(float(update_d)), "updated_g": torch.tensor(float(update_g))}
        return {"loss": loss.detach(), "loss_d": loss_d.detach(), "loss_g": loss_g.detach()} | metrics

    def compare(self, reconstructions: Tensor, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of pixel and feature errors, and each by itself."""
        pixel = F.mse_loss(reconstructions, images)
        loss, metrics = self.method.pixel * pixel, {"pixel": pixel.detach()}
        if self.method.feature:
            feature = self.comparator(reconstructions, images)
            loss, metrics["feature"] = loss + self.method.feature * feature, feature.detach()
        return loss, metrics

    def inverter(self, facts: dict[str, Any]) -> DecoderInverter:
        method, representation = self.method, self.data.representation
        decoder = Decoder(representation.dim, method.size, method.decoder).to(self.device)
        decoder.load_state_dict(self.average.module.state_dict())
        facts |= {"pixel_weight": method.pixel, "feature_weight": method.feature}
        if method.adversarial:
            facts["adversarial_weight"] = method.adversarial
        if method.feature:
            facts["comparator"] = f"{method.module} of {method.comparator or self.config.classifier}"
        return DecoderInverter(representation, decoder, facts, self.config.out.name)


class Balance(nn.Module):
    """Decide which of the two networks is updated; buffers, so that a checkpoint holds the decision.

    The discriminator pauses below a tenth of the generator's loss, until it is above half of it; the generator pauses
    while the discriminator's loss is above ten times its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("discriminator", torch.ones((), dtype=torch.bool))
        self.register_buffer("generator", torch.ones((), dtype=torch.bool))

    def weigh(self, loss_d: Tensor, loss_g: Tensor) -> None:
        """Decide for the next step by the losses' mean over processes, so that all decide alike."""
        mean_d, mean_g = distributed.mean([float(loss_d.detach()), float(loss_g.detach())])
        ratio = mean_d / max(mean_g, 1e-12)
        if ratio < PAUSE:
            self._set(discriminator=False, generator=True)
        elif ratio > LOST:
            self._set(discriminator=True, generator=False)
        elif ratio > GO_ON:
            self._set(discriminator=True, generator=True)

    def _set(self, **updated: bool) -> None:
        for name, value in updated.items():
            getattr(self, name).fill_(value)


TRAINER = DosovitskiyTrainer
