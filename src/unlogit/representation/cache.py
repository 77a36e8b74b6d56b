"""Representations of a source's images, each computed at most once, in a file that processes share."""

from __future__ import annotations

import hashlib
import os
import sys
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unlogit.classifiers import differ
from unlogit.identity import code_digest, library_versions
from unlogit.images import Batch, ImageSource, View
from unlogit.images._decoding import reduced_to
from unlogit.representation.standardised import Representation

COMPARED, LOOKED_AT = 4, 1_024
"""Rows of a cache that are compared with newly computed ones on opening, and rows that are searched for them."""

CACHE_TOLERANCE, CACHE_ROUNDING = 0.02, 2e-3
"""Tolerances between a cached row and a newly computed one: in standard deviations over images, and as a share of the
largest value, for float16 and other devices."""


class RepresentationCache:
    """Raw representations of a source's images, each computed at most once, in a file that processes share.

    Only countable views can be cached; with random crops every batch is computed. Rows are float16: a relative error
    of 5e-4, which is negligible for the generator. A row that float16 cannot hold is computed each time.

    The file's name is a digest of everything that the rows depend on: classifier, layer, images, view, code and
    libraries. Damaged rows are computed again; all of them are, with a warning, if one of `COMPARED` differs from
    the row that is computed on opening.

    Args:
        folder: folder of the files; None disables the cache.
    """

    def __init__(self, folder: Path | None, representation: Representation, source: ImageSource, view: View) -> None:
        self.representation = representation
        self._rows: _Rows | None = None
        if folder is None or not view.countable or representation.layer == "label":
            return
        code = f"{library_versions()} {code_digest('images', 'classifiers', 'representation')}"
        layer = (representation.classifier.fingerprint(), representation.layer, representation.dim)
        key = hashlib.sha256(repr((*layer, source.fingerprint(), view, code)).encode()).hexdigest()[:24]
        folder.mkdir(parents=True, exist_ok=True)
        self._rows = _Rows(folder / f"{key}.rows", 2 * len(source), representation.dim)
        if not self._is_current(self._rows, source, view):
            file = self._rows.path
            print(f"unlogit: warning: cache '{file}' does not match current outputs: recomputing it", file=sys.stderr)
            self._rows.clear()

    def __call__(self, batch: Batch) -> Tensor:
        """Return the raw representations of a batch, N x K, on the CPU."""
        if self._rows is None:
            return self._live(batch.images)
        indices = 2 * batch.indices + batch.flipped.long()
        rows, valid = self._rows.read(indices.tolist())
        raw = rows.float()
        if not valid.all():
            live = self._live(batch.images[~valid])
            half = live.half()
            fits = half.isfinite().all(1)  # Beyond 65,504 float16 has infinity.
            self._rows.write(indices[~valid][fits].tolist(), half[fits])
            raw[~valid] = torch.where(fits[:, None], half.float(), live)
        return raw

    def _is_current(self, rows: _Rows, source: ImageSource, view: View) -> bool:
        """Return whether a few rows equal newly computed ones."""
        indices = rows.some(COMPARED)
        with reduced_to(view.least):
            images = source.read([index // 2 for index in indices])
        pairs = [(index, image) for index, image in zip(indices, images, strict=True) if isinstance(image, Tensor)]
        if len(pairs) < 2:  # A standard deviation needs two images.
            return True
        views = replace(view, flip=False).apply([image for _, image in pairs])
        flipped = torch.tensor([index % 2 == 1 for index, _ in pairs]).view(-1, 1, 1, 1)
        live = self._live(torch.where(flipped, views.flip(-1), views))
        cached, _ = rows.read([index for index, _ in pairs])
        return not differ(cached, live, CACHE_TOLERANCE, CACHE_ROUNDING)

    def _live(self, images: Tensor) -> Tensor:
        return self.representation.raw(images.to(self.representation.shift.device)).cpu()


class _Rows:
    """An array of float16 in a file, each row after its checksum; a sparse file, so that unused rows take no disk.

    Rows are read and written by calls: with mapped memory, a file that was cut short or a full tmpfs kills the process.
    """

    def __init__(self, path: Path, count: int, dim: int) -> None:
        self.path, self.count, self.dim = path, count, dim
        self._record = 4 + 2 * dim
        path.touch()
        self._file = path.open("r+b", buffering=0)

    def read(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return rows, N x K, and which are valid, bool, N: rows that were never written or are damaged are not."""
        rows, valid = np.zeros((len(indices), self.dim), np.float16), np.zeros(len(indices), bool)
        for i, index in enumerate(indices):
            record = os.pread(self._file.fileno(), self._record, index * self._record)
            # A hole in the file is zeros, the checksum of a row of zeros is not.
            if len(record) == self._record and record[:4] == _checksum(record[4:]):
                rows[i], valid[i] = np.frombuffer(record[4:], np.float16), True
        return torch.from_numpy(rows), torch.from_numpy(valid)

    def write(self, indices: Sequence[int], rows: Tensor) -> None:
        """Write rows, N x K; raise `OSError` with the file's name if the disk is full."""
        for index, row in zip(indices, rows.numpy(), strict=True):
            data = row.tobytes()
            self._put(_checksum(data) + data, index * self._record)

    def some(self, count: int) -> list[int]:
        """Return the indices of at most `count` valid rows, spread over the file."""
        indices: list[int] = []
        for index in np.random.default_rng(0).choice(self.count, min(self.count, LOOKED_AT), replace=False).tolist():
            if len(indices) < count and self.read([index])[1].all():
                indices.append(index)
        return indices

    def clear(self) -> None:
        """Delete every row; other processes that read them compute them again."""
        self._file.truncate(0)

    def _put(self, data: bytes, offset: int) -> None:
        try:
            while data:
                written = os.pwrite(self._file.fileno(), data, offset)
                data, offset = data[written:], offset + written
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error


def _checksum(data: bytes) -> bytes:
    """Return four bytes, not all of them zero."""
    return (zlib.crc32(data) or 1).to_bytes(4, "little")
