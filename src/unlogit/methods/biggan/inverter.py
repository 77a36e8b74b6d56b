"""The paper's inverter: a generator trained against a discriminator, conditioned on the representation.

Teterwak, Zhang, Krishnan and Mozer, "Understanding Invariance via Feedforward Inversion of Discriminatively Trained
Classifiers", ICML 2021: G(z, eps) of section 3. With the layer "label" the same network is the label-only baseline.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from torch import Tensor

from unlogit.methods._trained import LearnedInverter
from unlogit.methods.biggan.config import GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.representation import Representation
from unlogit.saved import from_json


class GeneratorInverter(LearnedInverter):
    """A trained generator with the representation that it inverts.

    Args:
        facts: facts about the training, as in `LearnedInverter`.
    """

    KIND: ClassVar[str] = "generator"

    def __init__(
        self, representation: Representation, generator: Generator, facts: dict[str, Any], name: str = "generator"
    ) -> None:
        super().__init__(representation, generator, generator.config.size, facts, name)

    @property
    def generator(self) -> Generator:
        assert isinstance(self.network, Generator)
        return self.network

    def sample_noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return N(0, 1) noise, n x `noise`."""
        return torch.randn(n, self.generator.config.noise, generator=generator)

    def _invert(self, raw: Tensor, noise: Tensor | None) -> Tensor:
        return self.generator(self.representation.standardise(raw), noise)

    def shape(self) -> dict[str, Any]:
        return dataclasses.asdict(self.generator.config)

    @classmethod
    def network_of(cls, dim: int, shape: dict[str, Any], what: str) -> Generator:
        return Generator(dim, from_json(GeneratorConfig, shape, what))


INVERTER = GeneratorInverter
