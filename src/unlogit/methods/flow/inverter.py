"""A conditional flow: many images per representation, by integrating a learned velocity from noise.

Flow matching: Lipman, Chen, Ben-Hamu, Nickel and Le, ICLR 2023, with the straight paths of Liu, Gong and Liu, ICLR
2023 (rectified flow). Bordes, Balestriero and Vincent (RCDM), TMLR 2022, sample what a representation leaves open by a
conditional diffusion. Departs from RCDM in the flow instead of a diffusion, and in the
condition: a vector that scales and shifts group norms, instead of conditional batch norms.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from unlogit.errors import UnlogitError
from unlogit.methods._trained import LearnedInverter
from unlogit.methods.flow.config import VelocityConfig
from unlogit.methods.flow.network import Velocity
from unlogit.representation import Representation
from unlogit.saved import check_keys, from_json

STEPS = 12
MOST_STEPS = 1_000


class FlowInverter(LearnedInverter):
    """A trained velocity with the representation that it inverts.

    Args:
        steps: number of steps of Heun's method from noise to image; each takes two passes through the network.
    """

    KIND: ClassVar[str] = "flow"

    def __init__(
        self,
        representation: Representation,
        velocity: Velocity,
        facts: dict[str, Any],
        name: str = "flow",
        steps: int = STEPS,
    ) -> None:
        super().__init__(representation, velocity, velocity.size, facts, name)
        self.steps = steps

    def sample_noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return N(0, 1) noise, n x 3 x S x S, where the flow begins."""
        return torch.randn(n, 3, self.size, self.size, generator=generator)

    def _invert(self, raw: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None  # `invert` draws it by `sample_noise`.
        x, condition = noise, self.representation.standardise(raw)
        times = torch.linspace(0, 1, self.steps + 1).tolist()
        for now, then in itertools.pairwise(times):
            here = self._velocity(x, now, condition)
            there = self._velocity(x + (then - now) * here, then, condition)
            x = x + (then - now) * (here + there) / 2
        return ((x + 1) / 2).clamp(0, 1)

    def _velocity(self, x: Tensor, time: float, condition: Tensor) -> Tensor:
        velocity: Tensor = self.network(x, torch.full((len(x),), time, device=x.device), condition)
        return velocity

    def shape(self) -> dict[str, Any]:
        assert isinstance(self.network, Velocity)
        return {"size": self.size, "steps": self.steps} | dataclasses.asdict(self.network.config)

    @classmethod
    def network_of(cls, dim: int, shape: dict[str, Any], what: str) -> Velocity:
        rest = {k: v for k, v in shape.items() if k not in ("size", "steps")}
        check_keys({k: v for k, v in shape.items() if k not in rest}, {"size": int, "steps": int}, {}, what)
        if not 1 <= shape["steps"] <= MOST_STEPS:
            raise UnlogitError(f"flow steps {shape['steps']}: must be 1 to {MOST_STEPS:,}")
        return Velocity(dim, shape["size"], from_json(VelocityConfig, rest, what))

    @classmethod
    def restore(
        cls, representation: Representation, network: Any, shape: dict[str, Any], facts: dict[str, Any], name: str
    ) -> Self:
        return cls(representation, network, facts, name, shape["steps"])


INVERTER = FlowInverter
