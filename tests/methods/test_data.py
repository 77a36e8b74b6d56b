"""What is read ahead is what would have been read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from unlogit.images import open_images
from unlogit.methods import TrainConfig, TrainingData


def test_reading_ahead_changes_nothing(tiny: Callable[..., TrainConfig]) -> None:
    config = tiny()
    plain, ahead = (TrainingData(config, open_images(config.images), torch.device("cpu"), None) for _ in range(2))
    assert plain._reader is None
    with ThreadPoolExecutor(1) as ahead._reader:
        for position in (0, 8, 16, 0, 16, 24):  # In order, and as a validation or a rollback jumps.
            for found, expected in zip(ahead.pair(position), plain.pair(position), strict=True):
                assert torch.equal(found, expected)
            assert list(ahead._ahead) == [position + 8]
