"""Everything that changes while a run goes on, and its place in a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from unlogit.errors import UnlogitError
from unlogit.networks import Discriminator, Generator, ProjectedDiscriminator
from unlogit.training.config import TrainConfig

WARM_LEARNING_RATE = 1e-3
EMA_RAMP = 0.1


class TrainState:
    """Generator, its average, discriminator, optimisers and the count of pictures seen.

    Args:
        representation: its length K.
    """

    def __init__(self, config: TrainConfig, representation: int, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.images = 0
        self.generator = Generator(representation, config.generator).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        size = config.generator.size
        discriminator = (
            ProjectedDiscriminator(representation, size, config.discriminator, config.seed)
            if config.discriminator.kind == "projected"
            else Discriminator(representation, size, config.discriminator)
        )
        self.discriminator: Discriminator | ProjectedDiscriminator = discriminator.to(
            device, memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        self.average = AveragedModel(self.generator, multi_avg_fn=self._lerp)
        self.optimiser_g = torch.optim.Adam(self.generator.parameters(), config.learning_rate_g, config.betas)
        trained = [p for p in self.discriminator.parameters() if p.requires_grad]
        self.optimiser_d = torch.optim.Adam(trained, config.learning_rate_d, config.betas)
        self.optimiser_warm = torch.optim.Adam(self.generator.parameters(), WARM_LEARNING_RATE)
        self._half_life = config.ema_half_life
        self._step_pictures = config.batch * config.d_steps

    def _lerp(self, averages: Sequence[Tensor], current: Sequence[Tensor], _count: Tensor | int) -> None:
        """Exponential moving average by half-life in pictures, shorter at the beginning (Karras et al. 2024)."""
        half_life = min(self._half_life, EMA_RAMP * max(self.images, 1))
        keep = 0.5 ** (self._step_pictures / half_life)
        torch._foreach_lerp_(averages, current, 1 - keep)  # type: ignore[call-overload]

    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
            "optimiser_g": self.optimiser_g,
            "optimiser_d": self.optimiser_d,
            "optimiser_warm": self.optimiser_warm,
        }

    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images} | {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `UnlogitError` where the networks have another shape."""
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
        except (RuntimeError, KeyError, ValueError) as error:
            raise UnlogitError(
                f"checkpoint does not fit this configuration ({str(error).splitlines()[-1].strip()}): "
                "give the configuration that the run was started with, or another --out"
            ) from error
        self.images = state["images"]
