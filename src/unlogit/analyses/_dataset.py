"""Images that inverters are analysed on, read once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, Loader, View, to_bytes

CHUNK = 64
"""Images per batch."""


@dataclass(frozen=True)
class Images:
    """Images stored as bytes: at 64 px, 10,000 of them take 123 MB.

    Attributes:
        bytes: uint8, N x 3 x S x S.
    """

    bytes: Tensor

    def __len__(self) -> int:
        return len(self.bytes)

    def __getitem__(self, which: slice | Tensor) -> Tensor:
        """Return images, float32 in [0, 1], n x 3 x S x S."""
        return self.bytes[which].float() / 255

    def chunks(self) -> Iterator[Tensor]:
        """Yield all of them in order, `CHUNK` at a time, float32 in [0, 1]."""
        for start in range(0, len(self), CHUNK):
            yield self[start : start + CHUNK]

    @staticmethod
    def of(chunks: list[Tensor]) -> Images:
        """Return chunks, uint8, as one."""
        return Images(torch.cat(chunks))


@dataclass(frozen=True)
class Dataset:
    """Images of a source with their labels, read at first use and stored as bytes.

    Attributes:
        source: where the images come from.
        view: how they are cropped and resized.
        limit: number of images, spread at random over the source, the same for any seed; None takes all.
    """

    source: ImageSource
    view: View
    limit: int | None = None

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def _read(self) -> tuple[Images, Tensor, Tensor]:
        batches = Loader(self.source, self.view, CHUNK, seed=0).once(self.limit)
        read = [(to_bytes(b.images), b.labels, b.indices) for b in batches]
        if not read:
            raise UnlogitError(f"{self.source.spec}: none of its images can be decoded; give another source")
        images, labels, indices = zip(*read, strict=True)
        return Images.of(list(images)), torch.cat(labels), torch.cat(indices)

    @property
    def images(self) -> Images:
        """The images, N x 3 x S x S."""
        return self._read[0]

    @property
    def labels(self) -> Tensor:
        """int64, N; -1 for an image without a label."""
        return self._read[1]

    @property
    def indices(self) -> Tensor:
        """Positions in the source, int64, N."""
        return self._read[2]

    @cached_property
    def fingerprint(self) -> str:
        """The source's fingerprint, which takes seconds for a million files."""
        return self.source.fingerprint()

    def sample(self, count: int, seed: int) -> Tensor:
        """Return the positions of `count` images, drawn at random, in the order drawn."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return order[:count]
