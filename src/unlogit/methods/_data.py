"""Training data of one process: images with their representations, and noise, as functions of the position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unlogit.classifiers import open_classifier
from unlogit.images import Batch, ImageSource, Loader, View
from unlogit.methods._train_config import TrainConfig
from unlogit.representation import Representation, RepresentationCache
from unlogit.representation.layers import Layer
from unlogit.runtime import distributed
from unlogit.runtime.checkpoint import check_unchanged
from unlogit.runtime.progress import announce
from unlogit.runtime.seeds import seeded

CALIBRATION_IMAGES = 2_048
NOISE_D, NOISE_G, TIME, SHIFT_REAL, SHIFT_FAKE_D, SHIFT_FAKE_G = range(6)
"""Independent random streams at one position."""


class TrainingData:
    """Batches of training images with standardised representations, and the noise of each step.

    Args:
        source: training images.
        saved: checkpoint of a run that is resumed, with "shift" and "scale" of the representation; None estimates
            them on training images.

    Raises:
        UnlogitError: the checkpoint was made with another classifier.
    """

    def __init__(
        self,
        config: TrainConfig,
        source: ImageSource,
        device: torch.device,
        saved: Mapping[str, Any] | None,
    ) -> None:
        self.config, self.device = config, device
        announce(f"opening the classifier {config.classifier}")
        classifier = open_classifier(config.classifier).fused([Layer.parse(config.layer).module]).to(device)
        # Before its constants are used: another network may have another number of logits.
        check_unchanged(saved, "classifier", classifier.spec, classifier.fingerprint())
        view = View(config.size, config.crop, config.flip, reduced=True)
        rank, world = distributed.rank(), distributed.world_size()
        self.loader = Loader(source, view, config.batch, seed=config.seed, rank=rank, world_size=world)
        self._calibration = Loader(source, view, min(config.batch, 64), seed=config.seed)
        if saved is None:
            images = min(CALIBRATION_IMAGES, len(source))
            announce(f"estimating the mean and standard deviation of its representation on {images:,} images")
            self.representation = Representation(classifier, config.layer).to(device)
            self.representation.fit(self.first(CALIBRATION_IMAGES))
        else:
            restored = Representation(classifier, config.layer, saved["shift"], saved["scale"])
            self.representation = restored.to(device)
        # On the CPU a reader thread would compete with the training steps.
        self._reader = ThreadPoolExecutor(1, "reader") if device.type == "cuda" else None
        self._ahead: dict[int, Future[Batch]] = {}
        self.cache = RepresentationCache(config.cache, self.representation, source, view)

    def first(self, count: int) -> Iterator[Tensor]:
        """Yield batches of about `count` training images, the same in every process, to estimate constants on."""
        size = self._calibration.batch_size
        available = min(CALIBRATION_IMAGES, len(self.loader.source))
        for position in range(0, available, size)[: max(1, count // size)]:
            yield self._calibration.batch(position).images.to(self.device)

    def pair(self, position: int) -> tuple[Tensor, Tensor]:
        """Return images, N x 3 x S x S in [0, 1], and their standardised representations, N x K."""
        batch = self._batch(position)
        images, raw = (t.to(self.device, non_blocking=True) for t in (batch.images, self.cache(batch)))
        return images, self.representation.standardise(raw)

    def _batch(self, position: int) -> Batch:
        """Return the batch at a position, read ahead while the device computes on the previous one."""
        if self._reader is None:
            return self.loader.batch(position)
        future = self._ahead.pop(position, None)
        batch = self._read(position) if future is None else future.result()
        following = position + self.config.batch
        self._ahead = {following: self._reader.submit(self._read, following)}
        return batch

    def _read(self, position: int) -> Batch:
        batch = self.loader.batch(position)
        return replace(batch, images=batch.images.pin_memory()) if self.device.type == "cuda" else batch

    def noise(self, position: int, stream: int, *shape: int) -> Tensor:
        """Return N(0, 1) noise of the global batch at `position`: this process's rows, each of `shape`."""
        generator = seeded(self.config.seed, position, stream)
        return self._share(torch.randn(self.config.batch, *shape, generator=generator))

    def uniform(self, position: int, stream: int, *shape: int) -> Tensor:
        """Return the same as `noise`, but uniform in [0, 1)."""
        generator = seeded(self.config.seed, position, stream)
        return self._share(torch.rand(self.config.batch, *shape, generator=generator))

    def _share(self, whole: Tensor) -> Tensor:
        return whole.chunk(distributed.world_size())[distributed.rank()].to(self.device)
