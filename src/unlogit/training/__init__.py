"""Training an inverter: the objective, the loop, its checkpoints and its health."""

from typing import TYPE_CHECKING

from unlogit.methods import TrainConfig

if TYPE_CHECKING:
    from unlogit.training.loop import train

__all__ = ["TrainConfig", "train"]


def __getattr__(name: str) -> object:
    if name == "train":
        from unlogit.training.loop import train

        return train
    raise AttributeError(name)
