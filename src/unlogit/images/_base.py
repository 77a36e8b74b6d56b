"""What every image source is: a finite, indexable, possibly labelled collection of pictures."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from unlogit.errors import BrokenImage
from unlogit.images._broken import Broken

PROBED = 16
"""Pictures that a fingerprint looks at."""


class ImageSource(ABC):
    """A finite collection of pictures, opened by `source:name`.

    Attributes:
        spec: the string that opened it, kept in configs so that a run can be repeated.
        class_names: readable names by label; empty where the pictures carry no labels.
    """

    spec: str
    class_names: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def labels(self) -> Tensor:
        """int64, shape (N,); -1 where a picture has no label."""

    @abstractmethod
    def decode(self, index: int) -> Tensor:
        """Picture `index` as uint8 RGB, shape (3, H, W), upright; raises `BrokenImage`."""

    def read(self, indices: Sequence[int]) -> list[Tensor | BrokenImage]:
        """Several pictures; a broken one stands as its error. Sources that render in batches override this."""
        pictures: list[Tensor | BrokenImage] = []
        for index in indices:
            try:
                pictures.append(self.decode(index))
            except BrokenImage as error:
                pictures.append(error)
        return pictures

    def read_good(self, indices: Sequence[int]) -> list[Tensor | None]:
        """Several pictures; None in the place of a broken one, which is counted and may be one too many."""
        pictures: list[Tensor | None] = []
        for index, picture in zip(indices, self.read(indices), strict=True):
            if isinstance(picture, BrokenImage):
                self.broken.add(index, picture)
                pictures.append(None)
            else:
                self.broken.good += 1
                pictures.append(picture)
        return pictures

    @cached_property
    def broken(self) -> Broken:
        """The broken pictures met so far, by whatever `Loader`."""
        return Broken(self.spec)

    def fingerprint(self) -> str:
        """Changes whenever the pictures or their order do; part of every cache's key.

        Of the labels and some pictures spread over the source: reading them all would be slow. Sources that know
        better override this.
        """
        digest = hashlib.sha256(self.labels.numpy().tobytes())
        places = sorted({place * (len(self) - 1) // (PROBED - 1) for place in range(PROBED)}) if len(self) else []
        for picture in self.read(places):
            digest.update(str(picture).encode() if isinstance(picture, BrokenImage) else picture.numpy().tobytes())
        return f"{self.spec}#{len(self)}#{digest.hexdigest()[:16]}"


def check_pixels(images: Tensor, what: str = "images") -> Tensor:
    """Assert the house's pixel contract: float, N x 3 x H x W, in [0, 1]. Returns its argument."""
    assert images.ndim == 4 and images.shape[1] == 3, f"{what}: expected N x 3 x H x W, got {tuple(images.shape)}"
    assert images.is_floating_point(), f"{what}: expected floating point in [0, 1], got {images.dtype}"
    if images.numel():
        low, high = torch.aminmax(images.detach())
        assert low >= -1e-3 and high <= 1 + 1e-3, f"{what}: expected [0, 1], got [{low:.3f}, {high:.3f}]"
    return images
