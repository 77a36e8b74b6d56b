"""Configuration of the flow: its network and its training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from unlogit.errors import UnlogitError
from unlogit.methods._config import MethodConfig
from unlogit.settings import Betas, Bounds, Channels, Checked, Rate, Width

GROUPS = 8
"""Number of groups of a group norm."""


@dataclass(frozen=True)
class VelocityConfig(Checked):
    """Shape of the network."""

    channels: Channels = 32
    """Width unit, a multiple of 8: each block has a multiple of this number of channels."""
    condition: Width = 256
    """Length of the vector that embeds time and representation."""

    @classmethod
    def prefix(cls) -> str:
        return "velocity."

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels % GROUPS:
            raise UnlogitError(f"velocity.channels {self.channels}: must be a multiple of {GROUPS}, such as 32")


@dataclass(frozen=True)
class FlowConfig(MethodConfig):
    """A conditional flow from noise to images (flow matching, Lipman et al. 2023)."""

    NAME: ClassVar[str] = "flow"

    size: Width = 64
    """Side of the reconstruction in pixels: 32, 64 or 128."""
    velocity: VelocityConfig = field(default_factory=VelocityConfig)
    learning_rate: Rate = 1e-3
    """Learning rate of Adam."""
    betas: Betas = (0.9, 0.99)
    """Betas of Adam, each in [0, 1)."""
    steps: Annotated[int, Bounds(1, 100_000)] = 12
    """Number of steps of Heun's method from noise to image in the saved inverter; more are slower and more accurate."""


CONFIG = FlowConfig
