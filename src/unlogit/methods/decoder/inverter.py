"""An up-convolutional decoder: the average or most likely image of a representation, without noise.

The network that both Dosovitskiy and Brox, "Inverting Visual Representations with Convolutional Networks", CVPR 2016,
and "Generating Images with Perceptual Similarity Metrics based on Deep Networks", NeurIPS 2016, train; the losses are
in `unlogit.methods.decoder.trainer`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from torch import Tensor

from unlogit.methods._trained import LearnedInverter
from unlogit.methods.decoder.config import DecoderConfig
from unlogit.methods.decoder.networks import Decoder
from unlogit.representation import Representation
from unlogit.saved import from_json


class DecoderInverter(LearnedInverter):
    """A trained decoder with the representation that it inverts."""

    KIND: ClassVar[str] = "decoder"

    def __init__(
        self, representation: Representation, decoder: Decoder, facts: dict[str, Any], name: str = "decoder"
    ) -> None:
        super().__init__(representation, decoder, decoder.size, facts, name)

    def _invert(self, raw: Tensor, noise: Tensor | None) -> Tensor:
        images: Tensor = self.network(self.representation.standardise(raw))
        return images

    def shape(self) -> dict[str, Any]:
        assert isinstance(self.network, Decoder)
        return {"size": self.size} | dataclasses.asdict(self.network.config)

    @classmethod
    def network_of(cls, dim: int, shape: dict[str, Any], what: str) -> Decoder:
        rest = {k: v for k, v in shape.items() if k != "size"}
        return Decoder(dim, shape.get("size", 0), from_json(DecoderConfig, rest, what))


INVERTER = DecoderInverter
