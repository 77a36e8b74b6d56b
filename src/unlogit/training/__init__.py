"""Training an inverter: the objective, the loop, its checkpoints and its health."""

from typing import TYPE_CHECKING

from unlogit.lazy import exports
from unlogit.methods import TrainConfig

if TYPE_CHECKING:
    from unlogit.training.loop import train

__all__ = ["TrainConfig", "train"]

__getattr__ = exports(__name__, {"train": "loop"})
