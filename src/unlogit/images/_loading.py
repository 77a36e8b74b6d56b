"""Batches as a pure function of (seed, position), the same for any number of ranks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from unlogit.errors import UnlogitError
from unlogit.images._base import ImageSource, check_pixels
from unlogit.images._decoding import reduced_to
from unlogit.images._views import View

_ORDER, _VIEWS = 0, 1  # separate streams of chance under one seed


@dataclass(frozen=True)
class Batch:
    """Images and where they come from.

    Attributes:
        images: float in [0, 1], N x 3 x S x S.
        labels: int64, shape (N,); -1 where an image has none.
        indices: int64, shape (N,): places in the source.
        flipped: bool, shape (N,): whether the view mirrored the image.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    flipped: Tensor

    def __len__(self) -> int:
        return len(self.indices)


class Loader:
    """An endless stream of epochs over a source, cut into batches.

    A broken image's place is taken by the next good one in the source.

    Args:
        source: where images come from.
        view: how they are seen.
        batch_size: images in a batch over all ranks together.
        seed: not negative; with a position it decides everything left to chance.
        shuffle: a new order each epoch; otherwise the source's own, over and over.
        rank, world_size: this process and the number of them; each gets its contiguous slice of every batch.

    Raises `UnlogitError` where the batch cannot be shared out evenly; later, where too many of the source's images
    are broken (see `Broken`), or all of them are.
    """

    def __init__(
        self,
        source: ImageSource,
        view: View,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise UnlogitError(f"batch size {batch_size}: must be a positive multiple of the {world_size} processes")
        if seed < 0:
            raise UnlogitError(f"seed {seed}: must not be negative")
        if not len(source):
            raise UnlogitError(f"{source.spec}: holds no images")
        if not 0 <= rank < world_size:
            raise UnlogitError(f"rank {rank}: must be 0 to {world_size - 1}, of {world_size} processes")
        self.source = source
        self.view = view
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self._order = lru_cache(maxsize=2)(self._permutation)  # two: a batch may lie across the end of an epoch

    def batch(self, position: int) -> Batch:
        """This rank's part of the batch that begins after `position` images (over all ranks) were consumed."""
        share = self.batch_size // self.world_size
        mine = slice(self.rank * share, (self.rank + 1) * share)
        draws = self.view.draw(self.batch_size, np.random.default_rng([self.seed, _VIEWS, position]))[mine]
        wanted = [self._index(index) for index in range(position, position + self.batch_size)[mine]]
        with reduced_to(self.view.least):
            indices, images = self._good(wanted)
        return self._assemble(self.view, indices, images, draws)

    def once(self, limit: int | None = None) -> Iterator[Batch]:
        """Every image once, in order, decoded whole, centred and not flipped, for evaluation; broken ones are left out.

        A limit takes that many spread at random over the source, the same ones whatever the seed, since a source may
        be sorted by class. Ranks share out each batch between them, and the last may be smaller.
        """
        view = replace(self.view, crop="centre", flip=False, reduced=False)
        chosen = spread(len(self.source), limit)
        for start in range(0, len(chosen), self.batch_size):
            wanted = np.array_split(chosen[start : start + self.batch_size], self.world_size)[self.rank].tolist()
            indices = []
            decoded = []
            for index, image in zip(wanted, self.source.read_good(wanted), strict=True):
                if image is not None:
                    indices.append(index)
                    decoded.append(image)
            if indices:
                yield self._assemble(view, indices, decoded, None)

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, _ORDER, epoch]).permutation(len(self.source))

    def _index(self, index: int) -> int:
        epoch, step = divmod(index, len(self.source))
        return int(self._order(epoch)[step]) if self.shuffle else step

    def _good(self, indices: list[int]) -> tuple[list[int], list[Tensor]]:
        """Return the images at these indices, or at the next good ones after them."""
        indices = [self._after(index) for index in indices]
        images: list[Tensor | None] = [None] * len(indices)
        while missing := [slot for slot, image in enumerate(images) if image is None]:
            for slot, image in zip(missing, self.source.read_good([indices[s] for s in missing]), strict=True):
                images[slot] = image
                if image is None:
                    indices[slot] = self._after(indices[slot])
        return indices, [image for image in images if image is not None]

    def _after(self, index: int) -> int:
        """This index, or the next that is not known to be broken."""
        broken = self.source.broken
        if len(broken) == len(self.source):
            reason = next(iter(broken.reasons.values()))
            raise UnlogitError(f"{self.source.spec}: none of its {len(self.source)} images can be decoded ({reason})")
        while index in broken:
            index = (index + 1) % len(self.source)
        return index

    def _assemble(self, view: View, indices: list[int], decoded: list[Tensor], draws: Tensor | None) -> Batch:
        positions = torch.tensor(indices, dtype=torch.int64)
        flipped = torch.zeros(len(indices), dtype=torch.bool) if draws is None else view.flips(draws)
        images = check_pixels(view.apply(decoded, draws), self.source.spec)
        return Batch(images, self.source.labels[positions], positions, flipped)


def spread(count: int, limit: int | None) -> np.ndarray:
    """All places from 0 to count - 1, or `limit` of them spread at random, always the same ones; in order."""
    if limit is None or limit >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).permutation(count)[:limit])
