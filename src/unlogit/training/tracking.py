"""Send a run's metrics, sample grids and configuration to TensorBoard, Weights & Biases or Trackio (`--track`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from unlogit.errors import UnlogitError, one_line
from unlogit.files import to_json
from unlogit.methods import TrainConfig
from unlogit.registry import import_optional
from unlogit.training.run_folder import plain

PROJECT = "unlogit"


class Tracker(ABC):
    """Connection to a tracking service, whose steps are numbers of images seen."""

    @abstractmethod
    def log(self, images: int, values: Mapping[str, float]) -> None:
        """Send metrics by name."""

    @abstractmethod
    def sample(self, images: int, grid: Path) -> None:
        """Send a sample grid, which is an image file."""

    @abstractmethod
    def close(self) -> None:
        """Send remaining data and disconnect."""


class TensorBoard(Tracker):
    """Event files in RUN/tensorboard, shown by `tensorboard --logdir RUN`."""

    def __init__(self, config: TrainConfig, images: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Drops events after the checkpoint from which a run resumes.
        self.writer = SummaryWriter(str(config.out / "tensorboard"), purge_step=images or None)
        self.writer.add_text("config", f"```json\n{to_json(plain(config), indent=2)}\n```", images)

    def log(self, images: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, images)

    def sample(self, images: int, grid: Path) -> None:
        with Image.open(grid) as opened:
            self.writer.add_image("samples", np.asarray(opened), images, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()


class Hosted(Tracker):
    """A run of wandb or trackio, which share these calls; a resumed run is another one of the same group."""

    def __init__(self, service: ModuleType, config: TrainConfig) -> None:
        self.service = service
        name = "/".join(config.out.parts[-2:])
        try:
            service.init(project=PROJECT, name=name, group=name, config=plain(config))
        except Exception as error:  # Each service has its own exceptions, such as for a missing login.
            raise UnlogitError(f"--track {config.track} could not start: {one_line(error)}") from error

    def log(self, images: int, values: Mapping[str, float]) -> None:
        self.service.log(dict(values), step=images)

    def sample(self, images: int, grid: Path) -> None:
        self.service.log({"samples": self.service.Image(str(grid))}, step=images)

    def close(self) -> None:
        self.service.finish()


def check_installed(track: str | None) -> None:
    """Raise `UnlogitError` where the package of a tracking service is missing."""
    if track is not None:
        import_optional(track, "track", f"--track {track}")


def open_tracker(config: TrainConfig, images: int) -> Tracker | None:
    """Return the configured tracker, or None, for a run that begins at `images` images."""
    if config.track is None:
        return None
    service = import_optional(config.track, "track", f"--track {config.track}")
    return TensorBoard(config, images) if config.track == "tensorboard" else Hosted(service, config)
