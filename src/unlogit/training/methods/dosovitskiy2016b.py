"""A decoder by the error of its pictures, in pixels, in features or in both (Dosovitskiy and Brox 2016b).

Dosovitskiy and Brox, "Inverting Visual Representations with Convolutional Networks", CVPR 2016, equation 3: the squared
error E ||x - f(Phi(x))||^2, whose minimum is the mean of all pictures with that representation, and hence blurred.
Departs in that the mean over values stands for the sum, in pixels of [0, 1], and in the choice of a feature error,
which 2016a added; Adam and its rate of 1e-3 are theirs.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.classifiers import Classifier, open_classifier
from unlogit.inverters import DecoderInverter
from unlogit.networks import Decoder
from unlogit.training.comparator import Comparator
from unlogit.training.methods._base import Method
from unlogit.training.options import ComparisonConfig

FEATURE_PICTURES = 512


class Learning(Method):
    """A decoder and its comparator."""

    SOURCE: ClassVar[str] = "Dosovitskiy and Brox, CVPR 2016"

    @property
    def options(self) -> ComparisonConfig:
        return self.config.dosovitskiy2016b

    def setup(self) -> None:
        options, representation = self.options, self.feed.representation
        decoder = Decoder(representation.dim, self.config.size, self.config.decoder)
        self.decoder = self.network = decoder.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        comparator = open_classifier(options.comparator or self.config.classifier)
        classifier = comparator.fused([options.module]).to(self.device)
        self.comparator = Comparator(classifier, options.module)
        self.optimiser = self.adam(self.decoder.parameters(), options.learning_rate, options.betas)

    def frozen_networks(self) -> dict[str, Classifier]:
        return super().frozen_networks() | ({"comparator": self.comparator.classifier} if self.options.feature else {})

    def begin(self) -> None:
        super().begin()
        if self.options.feature:
            self.comparator.calibrate(self.feed.first(FEATURE_PICTURES))

    def parts(self) -> dict[str, Any]:
        return {"decoder": self.decoder, "comparator": self.comparator, "optimiser": self.optimiser}

    def step(self) -> dict[str, Tensor]:
        images, representation = self.feed.pair(self.images)
        with self.precision:
            made = self.decoder(representation)
            loss, told = self.compare(made, images)
        self.update(self.decoder, self.optimiser, loss)
        self.images += self.config.batch
        return {"loss": loss.detach()} | told

    def compare(self, made: Tensor, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted errors, and each alone."""
        pixel = F.mse_loss(made, images)
        loss, told = self.options.pixel * pixel, {"pixel": pixel.detach()}
        if self.options.feature:
            feature = self.comparator(made, images)
            loss, told["feature"] = loss + self.options.feature * feature, feature.detach()
        return loss, told

    def inverter(self, facts: dict[str, Any]) -> DecoderInverter:
        decoder = Decoder(self.feed.representation.dim, self.config.size, self.config.decoder).to(self.device)
        decoder.load_state_dict(self.average.module.state_dict())
        facts |= {"pixel_weight": self.options.pixel, "feature_weight": self.options.feature}
        if self.options.feature:
            comparator = self.options.comparator or self.config.classifier
            facts["comparator"] = f"{self.options.module} of {comparator}"
        return DecoderInverter(self.feed.representation, decoder, facts, self.config.out.name)
