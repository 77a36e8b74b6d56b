"""What every image source is: a finite, indexable, possibly labelled collection of images."""

from __future__ import annotations

import contextlib
import hashlib
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images._broken import Broken
from unlogit.images._inventory import Inventory
from unlogit.outside import data, plain

SLACK = 1e-3
"""How far outside of [0, 1] rounding may take a pixel."""


class Hash(Protocol):
    """A digest of hashlib."""

    def update(self, data: bytes, /) -> None: ...


class ImageSource(ABC):
    """A finite collection of images, opened by `source:name`.

    Attributes:
        spec: the string that opened it, kept in configs so that a run can be repeated.
        class_names: readable names by label; empty where the images carry no labels.
    """

    spec: str
    class_names: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def labels(self) -> Tensor:
        """int64, shape (N,); -1 where an image has no label."""

    @abstractmethod
    def decode(self, index: int) -> Tensor:
        """Image `index` as uint8 RGB, shape (3, H, W), upright; raises `BrokenImage`."""

    def read(self, indices: Sequence[int]) -> list[Tensor | BrokenImage]:
        """Several images; a broken one stands as its error. Sources that render in batches override this."""
        images: list[Tensor | BrokenImage] = []
        for index in indices:
            try:
                images.append(self.decode(index))
            except BrokenImage as error:
                images.append(error)
        return images

    def read_good(self, indices: Sequence[int]) -> list[Tensor | None]:
        """Several images; None in the place of a broken one, which is counted and may be one too many."""
        images: list[Tensor | None] = []
        for index, image in zip(indices, self.read(indices), strict=True):
            if isinstance(image, BrokenImage):
                self.broken.add(index, image)
                images.append(None)
            else:
                self.broken.good += 1
                images.append(image)
        return images

    @cached_property
    def broken(self) -> Broken:
        """The broken images met so far, by whatever `Loader`."""
        return Broken(self.spec, self.inventory)

    @cached_property
    def inventory(self) -> Inventory:
        """What was found when the source was opened. Sources that leave something out override this."""
        return Inventory("images", len(self))

    def fingerprint(self) -> str:
        """Return `spec#count#digest`, which changes whenever an image, a label or the order does.

        Part of every cache's key. The digest is the same for the same images under another spec of the source.
        """
        digest = hashlib.sha256(self.labels.numpy().tobytes() + data("\n".join(self.class_names)))
        self._add_images(digest)
        return f"{self.spec}#{len(self)}#{digest.hexdigest()[:16]}"

    def _add_images(self, digest: Hash) -> None:
        """Add to a digest what changes when any image does: here all pixels. Registered sources have quicker ways."""
        for index in range(len(self)):
            (image,) = self.read([index])
            if isinstance(image, BrokenImage):
                digest.update(data(str(image)))
            else:
                digest.update(str(tuple(image.shape)).encode() + image.numpy().tobytes())


def add_file(digest: Hash, name: str, path: str | Path) -> None:
    """Add a file's name, size and date of change to a digest; of one that is gone, the name."""
    digest.update(data(name))
    with contextlib.suppress(OSError, ValueError):  # A link that leads nowhere is one more broken image.
        status = Path(path).stat()
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}".encode())
    digest.update(b"\0")


def same_images(fingerprint: str, other: str) -> bool:
    """Return whether two fingerprints are of the same images in the same order, whatever their specs.

    Images that two different datasets share are not looked for.
    """
    return fingerprint.rsplit("#", 2)[1:] == other.rsplit("#", 2)[1:]


def warn_of_overlap(training: ImageSource, held_out: ImageSource) -> None:
    """Print a warning to stderr where held-out images are the training images: metrics then measure memory."""
    if same_images(training.fingerprint(), held_out.fingerprint()):
        print(
            f"unlogit: warning: the held-out images {plain(held_out.spec)} are the training images: metrics on them "
            "measure memorisation; give images that are not trained on",
            file=sys.stderr,
        )


def to_bytes(images: Tensor) -> Tensor:
    """Return images in [0, 1] as uint8 of the same shape, each value rounded to the nearest of 256 levels."""
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def check_pixels(images: Tensor, what: str = "images") -> Tensor:
    """Check the pixel contract: floating point, N x 3 x H x W, in [0, 1] and finite. Returns its argument.

    Raises `UnlogitError` with the likely fix for anything else.
    """
    if not isinstance(images, Tensor):
        raise UnlogitError(
            f"{what}: expected a torch tensor, got {type(images).__name__}; convert with torch.as_tensor(x)"
        )
    shape = tuple(images.shape)
    if images.ndim != 4 or images.shape[1] != 3:
        raise UnlogitError(f"{what}: expected N x 3 x H x W, got {shape}; {_reshaping(shape)}")
    if not images.is_floating_point():
        raise UnlogitError(
            f"{what}: expected floating point in [0, 1], got {images.dtype}; convert with x.float() / 255"
        )
    if images.numel():
        low, high = (float(value) for value in torch.aminmax(images.detach()))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise UnlogitError(f"{what}: expected [0, 1], got non-finite values (NaN or inf); find where they arise")
        if low < -SLACK or high > 1 + SLACK:
            raise UnlogitError(f"{what}: expected [0, 1], got [{low:.4g}, {high:.4g}]; {_rescaling(low, high)}")
    return images


def _reshaping(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[0] == 3:
        return "add the batch dimension with x[None]"
    if len(shape) == 4 and shape[3] == 3:
        return "move the channels with x.permute(0, 3, 1, 2)"
    if len(shape) == 3 and shape[2] == 3:
        return "move the channels and add the batch dimension with x.permute(2, 0, 1)[None]"
    if len(shape) == 4 and shape[1] == 1:
        return "repeat grey as RGB with x.expand(-1, 3, -1, -1)"
    if len(shape) == 4 and shape[1] == 4:
        return "leave out alpha with x[:, :3]"
    return "give a batch of RGB images"


def _rescaling(low: float, high: float) -> str:
    if low >= 0:
        return "divide by 255" if high > 1.5 else "clamp with x.clamp(0, 1)"
    if low >= -1 - SLACK and high <= 1 + SLACK:
        return "map [-1, 1] to [0, 1] with (x + 1) / 2"
    return "undo the normalisation with x * std + mean: classifiers normalise by themselves"
