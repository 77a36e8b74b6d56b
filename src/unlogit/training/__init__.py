"""Training an inverter: the objective, the loop, its checkpoints and its health."""

from unlogit.training.config import TrainConfig

__all__ = ["TrainConfig", "train"]


def __getattr__(name: str) -> object:
    if name == "train":
        from unlogit.training.loop import train

        return train
    raise AttributeError(name)
