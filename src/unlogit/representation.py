"""A representation: what is left of a picture at one tap of a frozen classifier, and its standardisation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from unlogit.classifiers import Classifier
from unlogit.errors import UnlogitError
from unlogit.images import Batch, ImageSource, View
from unlogit.taps import Tap

FLOOR = 0.1
"""Least scale, in mean deviations. A channel that is dead on the training pictures may fire on others: with a
thousandth, EfficientNet-Lite0's penultimate layer reached 4,000 on held-out scenes, with a tenth 49. Logits vary more
evenly (0.57 of the mean at the least there), and are not touched."""


class Representation(nn.Module):
    """A tap of a classifier, with a fixed affine standardisation, (raw - shift) / scale, dimension by dimension.

    Users manipulate raw values; inverters standardise them inside. Raw logits have a norm far above a one-hot's, with
    which a projection discriminator swamps the hinge margin; dividing each vector by its own norm instead would
    delete the scale and shift that the paper studies.

    Args:
        tap: "logits"; "label", the one-hot of the predicted class; "softmax"; "penultimate"; or the name of a module.
            A spatial map (or tokens) is averaged over positions; "NAME?reduce=max" takes the largest value of each
            channel instead, "NAME?reduce=flatten" every value (at most 65,536), and "NAME?reduce=first" the first
            token, which in Vision Transformers is the one for the class.
        shift, scale: the constants, length K each; without them identity until `fit`.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, classifier: Classifier, tap: str = "logits", shift: Tensor | None = None, scale: Tensor | None = None
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.tap = tap
        self.reduce = Tap.parse(tap)
        dim = self.reduce.length(classifier)
        self.register_buffer("shift", torch.zeros(dim) if shift is None else shift)
        self.register_buffer("scale", torch.ones(dim) if scale is None else scale)
        if not self.shift.shape == self.scale.shape == (dim,):
            shapes = f"{tuple(self.shift.shape)} and {tuple(self.scale.shape)}"
            raise UnlogitError(
                f"shift and scale of shapes {shapes}: must be ({dim},), as '{tap}' of {classifier.spec} is"
            )

    @property
    def dim(self) -> int:
        """Length K of the representation."""
        return len(self.shift)

    @property
    def module(self) -> str:
        """Name of the classifier's output that the tap is computed from, for `Classifier.features`."""
        return self.reduce.module

    @torch.no_grad()
    def raw(self, pixels: Tensor) -> Tensor:
        """N x K, float32, of pixels N x 3 x H x W in [0, 1]."""
        return self.encode(pixels)

    def encode(self, pixels: Tensor) -> Tensor:
        """What `raw` gives, with gradients with respect to the pixels."""
        return self.reduce(self.classifier.features(pixels, [self.module])[self.module])

    forward = raw

    def standardise(self, raw: Tensor) -> Tensor:
        """What inverters are conditioned on: (raw - shift) / scale."""
        return (raw - self.shift) / self.scale

    def fit(self, batches: Iterable[Tensor]) -> Representation:
        """Estimate the constants on batches of training pictures; returns itself.

        Shift is the mean and scale the standard deviation of each dimension, floored at a tenth of the mean
        deviation. A one-hot label is left as it is. Raises `UnlogitError` for values that are no numbers, or where
        no dimension varies.
        """
        if self.tap == "label":
            return self
        raw = torch.cat([self.raw(pixels) for pixels in batches])
        deviation, mean = torch.std_mean(raw, dim=0)
        if not deviation.isfinite().all() or not deviation.any():
            problem = "is the same for all" if deviation.isfinite().all() else "is not a number for some"
            raise UnlogitError(
                f"tap '{self.tap}' of {self.classifier.spec} {problem} of {len(raw)} training pictures: choose another"
            )
        self.shift.copy_(mean)
        self.scale.copy_(deviation.clamp(min=max(FLOOR * float(deviation.mean()), 1e-12)))
        return self


class RepresentationCache:
    """Raw representations of a source's pictures, each computed at most once, in a file that processes share.

    Only countable views can be cached; with random crops every batch is computed. Rows are float16: a relative error
    of 5e-4, far below what the standardised generator notices.

    Args:
        folder: where the files are kept; None keeps nothing.
    """

    def __init__(self, folder: Path | None, representation: Representation, source: ImageSource, view: View) -> None:
        self.representation = representation
        self._rows: _Shared | None = None
        if folder is None or not view.countable or representation.tap == "label":
            return
        rest = (source.fingerprint(), repr(view), representation.tap, representation.dim)
        key = hashlib.sha256(repr((representation.classifier.fingerprint(), *rest)).encode()).hexdigest()[:24]
        folder.mkdir(parents=True, exist_ok=True)
        rows = 2 * len(source)
        self._rows = _Shared(folder / f"{key}.float16", np.float16, (rows, representation.dim))
        self._filled = _Shared(folder / f"{key}.filled", np.uint8, (rows,))

    def __call__(self, batch: Batch) -> Tensor:
        """Raw representations of a batch, N x K, on the CPU."""
        if self._rows is None:
            return self._live(batch.images)
        at = (2 * batch.indices + batch.flipped.long()).numpy()
        missing = np.flatnonzero(self._filled[at] == 0)
        if len(missing):
            self._rows.write(at[missing], self._live(batch.images[missing]).numpy())
            # After the row itself: another process may read it as soon as it is marked.
            self._filled.write(at[missing], np.ones(len(missing)))
        return torch.from_numpy(self._rows[at]).float()

    def _live(self, images: Tensor) -> Tensor:
        return self.representation.raw(images.to(self.representation.shift.device)).cpu()


class _Shared:
    """An array of zeros in a file that is made once; a sparse file, so that unused rows take no disk."""

    def __init__(self, path: Path, dtype: type, shape: tuple[int, ...]) -> None:
        self.path, self.dtype = path, np.dtype(dtype)
        size = int(np.prod(shape)) * self.dtype.itemsize
        with path.open("ab") as handle:
            if handle.tell() < size:
                handle.truncate(size)
        self._mapped = np.memmap(path, dtype, "r", shape=shape)
        self._file = path.open("r+b", buffering=0)

    def __getitem__(self, at: np.ndarray) -> np.ndarray:
        return self._mapped[at]

    def write(self, at: np.ndarray, rows: np.ndarray) -> None:
        """Raises `OSError` with the file's name where there is no room: a write to mapped memory would kill instead."""
        try:
            for place, row in zip(at.tolist(), rows.astype(self.dtype), strict=True):
                self._file.seek(place * row.nbytes)
                rest = row.tobytes()
                while rest:
                    rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
