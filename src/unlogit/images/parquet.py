"""`parquet:GLOB`: local files in the Hugging Face image layout, such as `parquet:shards/*.parquet`.

The images are a struct column of (bytes, path) or a binary column, the labels a column of whole numbers or words. The
columns are found by their usual names, or named as in `parquet:GLOB?image=img&label=fine_label`. `first=N` reads the
first N rows and `skip=N` the rows after them, so that a part of a training set can be held out. Encoded images stay
in Arrow's memory, so the files together must fit into it; they are decoded when they are asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from unlogit import specs
from unlogit.errors import BrokenImage, UnlogitError, one_line, unknown
from unlogit.images._base import ImageSource
from unlogit.images._decoding import decode
from unlogit.images._inventory import Inventory
from unlogit.images._labels import LABEL_COLUMNS, classes
from unlogit.outside import data, matching, plain
from unlogit.settings import Checked, Count

IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp")
MAX_EXPANSION = 1_000
"""How many times its size a file may claim to hold uncompressed: encoded images hardly compress, labels do."""


class ParquetImages(ImageSource):
    """Images in parquet files, in the order of the files' names.

    Args:
        files: the files.
        spec: the string that opened them.
        image, label: names of the columns; None finds them by their usual names.
        rows: the rows that are read, a slice of all files' rows with step 1.
    """

    def __init__(
        self,
        files: Sequence[Path],
        spec: str,
        image: str | None = None,
        label: str | None = None,
        rows: slice = slice(None),
    ) -> None:
        self.spec = spec
        self._files = list(files)
        # What is read of the files, for the fingerprint; all rows add nothing, so that caches of before stay valid.
        self._columns = (image, label) if rows == slice(None) else (image, label, rows.start, rows.stop)
        chunks: list[pa.Array] = []
        labels: list[object] = []
        names: tuple[str, ...] = ()
        for file in self._files:
            schema, table = _read(file, image, label)
            chunks += [c for c in _binary(table.column(0)).chunks if len(c)]
            labels += table.column(1).to_pylist() if table.num_columns > 1 else [None] * len(table)
            class_names = _class_names(schema, table.column_names[1]) if table.num_columns > 1 else ()
            if names and class_names and class_names != names:
                raise UnlogitError(
                    f"{file}: its class names differ from those of {self._files[0]}; open them separately"
                )
            names = names or class_names
        if not labels:
            raise UnlogitError(f"{plain(spec)}: its {len(self._files)} files hold no rows")
        start, stop, _ = rows.indices(len(labels))
        if start >= stop:
            raise UnlogitError(
                f"{plain(spec)}: its files hold {len(labels):,} rows, none of them in the slice; lower skip"
            )
        labels, self._skipped = labels[start:stop], start
        self._chunks = chunks
        self._starts = np.cumsum([0, *map(len, chunks)])
        self._count = len(labels)
        self._labels, self.class_names = classes(labels, plain(spec), names)
        self.inventory = Inventory("rows", len(self))

    def __len__(self) -> int:
        return self._count

    @property
    def labels(self) -> Tensor:
        return self._labels

    def decode(self, index: int) -> Tensor:
        return decode(self.encoded(index), f"{self.spec} row {index}")

    def encoded(self, index: int) -> memoryview:
        """Return the bytes of an image as the file holds them; raises `BrokenImage` where there are none."""
        row = self._skipped + index
        chunk = int(np.searchsorted(self._starts, row, side="right")) - 1
        data = self._chunks[chunk][row - int(self._starts[chunk])].as_buffer()
        if data is None:
            raise BrokenImage(f"{self.spec} row {index}: holds no bytes")
        return memoryview(data)

    def fingerprint(self) -> str:
        return self._digest

    @cached_property
    def _digest(self) -> str:
        """Return a fingerprint of the files' content and what is read of it, not of names or dates."""
        digest = hashlib.sha256(data(repr(self._columns)))
        for file in self._files:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return f"parquet#{len(self)}#{digest.hexdigest()[:16]}"


@dataclass(frozen=True)
class Options(Checked):
    """Options of this source; see the module."""

    image: str | None = None
    label: str | None = None
    first: Count | None = None
    skip: Count | None = None


def open_source(rest: str, spec: str) -> ParquetImages:
    pattern, options = specs.read(Options, rest, spec)
    files = matching(pattern)
    if not files:
        raise UnlogitError(f"{plain(spec)}: no file matches '{plain(pattern)}'; write it as parquet:FOLDER/*.parquet")
    # `skip` comes first: skip=100&first=50 are rows 100 to 149.
    stop = None if options.first is None else (options.skip or 0) + options.first
    return ParquetImages(files, spec, options.image, options.label, slice(options.skip, stop))


def _read(file: Path, image: str | None, label: str | None) -> tuple[pa.Schema, pa.Table]:
    """The file's schema, and a table of its images and, where it has any, its labels, in this order."""
    name = plain(str(file))
    try:
        parquet = pq.ParquetFile(file, memory_map=True)
        schema = parquet.schema_arrow
        image, label = _column(schema, image, IMAGE_COLUMNS, name), _column(schema, label, LABEL_COLUMNS, name)
        if image is None:
            looked = ", ".join(IMAGE_COLUMNS)
            columns = plain(", ".join(schema.names))
            raise UnlogitError(
                f"{name}: none of its columns {columns} is known to hold images ({looked} are); "
                "name it with ?image=COLUMN"
            )
        kind = schema.field(image).type
        in_struct = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        if not (_is_binary(kind) or (in_struct and _is_binary(kind.field("bytes").type))):
            raise UnlogitError(
                f"{name}: column '{image}' is {plain(str(kind))[:80]}; expected binary or a struct with bytes"
            )
        if label is not None and not _names_classes(kind := schema.field(label).type):
            raise UnlogitError(
                f"{name}: column '{label}' is {plain(str(kind))[:80]}; labels must be whole numbers or words"
            )
        labels = [] if label is None else [label]
        _check_claims(parquet.metadata, file.stat().st_size)
        table = parquet.read(columns=[f"{image}.bytes" if in_struct else image, *labels]).select([image, *labels])
        # In a damaged file, bytes of one image may seem to lie anywhere in memory, and words not to be UTF-8.
        table.validate(full=True)
        return schema, table
    except UnlogitError:
        raise
    # Arrow's own errors, and what its Python parts make of metadata that is no sense.
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise UnlogitError(
            f"{name}: not a readable parquet file ({plain(one_line(error))}); is it complete?"
        ) from error


def _check_claims(metadata: pq.FileMetaData, size: int) -> None:
    """Raise `ValueError` where the file claims to hold more than its bytes can."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    if metadata.num_rows != sum(group.num_rows for group in groups) or any(group.num_rows < 0 for group in groups):
        raise ValueError("its parts do not add up to the rows that it claims")
    if metadata.num_rows > size:  # An encoded image and its place take more than a byte.
        raise ValueError(f"it claims {metadata.num_rows:,} rows in {size:,} bytes")
    claimed = sum(group.total_byte_size for group in groups)
    if not 0 <= claimed <= MAX_EXPANSION * size:
        raise ValueError(f"it claims to expand from {size:,} to {claimed:,} bytes")


def _column(schema: pa.Schema, requested: str | None, usual: Sequence[str], file: str) -> str | None:
    if requested is None:
        return next((name for name in usual if name in schema.names), None)
    if requested not in schema.names:
        raise unknown(f"column of {file}", requested, schema.names)
    return requested


def _names_classes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _binary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The encoded images themselves, whether or not they stand in a struct."""
    if _is_binary(column.type):
        return column
    return pa.chunked_array([chunk.field("bytes") for chunk in column.chunks], column.type.field("bytes").type)


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...]:
    """The names that Hugging Face's ClassLabel keeps in the schema's metadata; none where there are none."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        names = features[label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()
