"""A conditional flow by flow matching: the velocity from noise to images of a representation.

Lipman, Chen, Ben-Hamu, Nickel and Le, "Flow Matching for Generative Modeling", ICLR 2023, equation 14 with straight
paths (Liu, Gong and Liu, ICLR 2023): E ||v(x_t, t, z) - (x_1 - x_0)||^2 with x_t = (1 - t) x_0 + t x_1, noise x_0 and
image x_1 in [-1, 1]. Times are the sigmoid of N(0, 1), which samples the middle most (Esser et al., ICML 2024).
The idea is RCDM's (Bordes, Balestriero and Vincent, TMLR 2022): `unlogit.methods.flow.inverter` lists the differences.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.methods._data import NOISE_G, TIME
from unlogit.methods._trainer import Trainer
from unlogit.methods.flow.config import FlowConfig
from unlogit.methods.flow.inverter import FlowInverter
from unlogit.methods.flow.network import Velocity


class FlowTrainer(Trainer[FlowConfig]):
    """A velocity network and its optimiser."""

    @property
    def source(self) -> str:
        return "flow matching, Lipman et al., ICLR 2023"

    def setup(self) -> None:
        method = self.method
        velocity = Velocity(self.data.representation.dim, method.size, method.velocity)
        self.velocity = self.network = velocity.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = self.adam(self.velocity.parameters(), method.learning_rate, method.betas)

    def parts(self) -> dict[str, Any]:
        return {"velocity": self.velocity, "optimiser": self.optimiser}

    def step(self) -> dict[str, Tensor]:
        """Minimise E ||v(x_t, t, z) - (x_1 - x_0)||^2."""
        images, representation = self.data.pair(self.images)
        noise = self.data.noise(self.images, NOISE_G, *images.shape[1:])
        time = self.data.noise(self.images, TIME).sigmoid()
        with self.precision:
            x, velocity = interpolate(noise, 2 * images - 1, time)
            loss = F.mse_loss(self.velocity(x, time, representation), velocity)
        self.update(self.velocity, self.optimiser, loss)
        self.images += self.config.batch
        return {"loss": loss.detach()}

    def inverter(self, facts: dict[str, Any]) -> FlowInverter:
        method, representation = self.method, self.data.representation
        velocity = Velocity(representation.dim, method.size, method.velocity).to(self.device)
        velocity.load_state_dict(self.average.module.state_dict())
        return FlowInverter(representation, velocity, facts, self.config.out.name, method.steps)


def interpolate(noise: Tensor, images: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points of straight paths from noise to images at `time`, N, and the paths' velocities."""
    return torch.lerp(noise, images, time.view(-1, 1, 1, 1)), images - noise


TRAINER = FlowTrainer
