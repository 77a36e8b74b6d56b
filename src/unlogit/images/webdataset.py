"""`webdataset:SHARDS`: tar files of pictures with their labels beside them, for millions of pictures.

`webdataset:shards/{000..099}.tar` or `webdataset:shards/*.tar`. Files in a shard that share a name up to its first dot
are one picture: `n01.jpg` and its label `n01.cls` (a number), or a field "label" in `n01.json`; another field with
`?label=FIELD`, the text of `n01.txt` with `?label=txt`. `?classes=FILE` names the classes, one a line. Each shard is
read through once, for where its pictures lie; that index is kept in the folder `?index=FOLDER`, or the user's cache,
and any picture can then be read at will. Shards must be plain tar files on this machine.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor
from tqdm import tqdm

from unlogit import registry
from unlogit.errors import BrokenImage, UnlogitError
from unlogit.files import replacing, written_here
from unlogit.images._base import ImageSource
from unlogit.images._decoding import decode
from unlogit.images._labels import classes

PICTURES = {"jpg", "jpeg", "png", "webp", "ppm", "pgm", "bmp", "gif", "tif", "tiff"}
SCHEMA = pa.schema([("name", pa.string()), ("offset", pa.int64()), ("size", pa.int64()), ("label", pa.string())])
"""Of an index: where a picture's bytes begin in the shard and how many there are; its label as it is written."""
FORMAT = 1
MAX_TEXT = 1 << 20
"""Bytes of a label's file."""


class ShardImages(ImageSource):
    """Pictures in the order of the shards and in them."""

    def __init__(self, shards: list[Path], spec: str, label: str | None, index: Path, names: tuple[str, ...]) -> None:
        self.spec = spec
        self._shards = shards
        bar = tqdm(shards, desc=f"index of {shards[0].parent}", unit="shard", leave=False, disable=None)
        tables = [_index(shard, label, index) for shard in bar]
        self._starts = np.cumsum([0, *map(len, tables)])
        self._table = pa.concat_tables(tables).combine_chunks()
        if not len(self):
            raise UnlogitError(f"{spec}: its {len(shards)} shards hold no pictures ({', '.join(sorted(PICTURES))})")
        self._offsets, self._sizes = (self._table.column(c).to_numpy() for c in ("offset", "size"))
        values = [_value(text) for text in self._table.column("label").to_pylist()]
        if label is not None and not any(value is not None for value in values):
            raise UnlogitError(f"{spec}: no picture has a '{label}', neither as a file nor as a field of its json file")
        self._labels, self.class_names = classes(values, spec, names)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def labels(self) -> Tensor:
        return self._labels

    def decode(self, index: int) -> Tensor:
        shard = self._shards[int(np.searchsorted(self._starts, index, side="right")) - 1]
        name = f"{shard}/{self._table.column('name')[index].as_py()}"
        try:
            with shard.open("rb") as stream:
                stream.seek(self._offsets[index])
                return decode(stream.read(self._sizes[index]), name)
        except OSError as error:
            raise BrokenImage(f"{name}: {error.strerror}") from error


def open_source(rest: str, spec: str) -> ShardImages:
    pattern, options = registry.options(rest, spec, ("label", "classes", "index"))
    if "://" in pattern:
        raise UnlogitError(f"{spec}: shards must lie on this machine, since any picture is read at will; download them")
    shards: list[Path] = []
    for each in _braces(str(Path(pattern).expanduser())):
        found = sorted(Path(file) for file in glob.glob(each, recursive=True) if Path(file).is_file())
        if not found:
            raise UnlogitError(f"{spec}: no file matches '{each}'; write it as webdataset:FOLDER/{{000..099}}.tar")
        shards += found
    names: tuple[str, ...] = ()
    if "classes" in options:
        try:
            names = tuple(Path(options["classes"]).expanduser().read_text().splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise UnlogitError(f"option 'classes={options['classes']}' of '{spec}': {error}") from error
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "unlogit" / "webdataset"
    return ShardImages(shards, spec, options.get("label"), Path(options.get("index", cache)).expanduser(), names)


def _braces(pattern: str) -> Iterator[str]:
    """`a{08..10}` as a08, a09, a10 and `{x,y}` as x, y, as a shell expands them."""
    found = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", pattern)
    if not found:
        yield pattern
        return
    first, last, listed = found.groups()
    if listed:
        choices = listed.split(",")
    else:
        padded = any(number[0] == "0" and len(number) > 1 for number in (first, last))
        width = max(len(first), len(last)) if padded else 0
        choices = [f"{number:0{width}}" for number in range(int(first), int(last) + 1)]
    for choice in choices:
        yield from _braces(pattern[: found.start()] + choice + pattern[found.end() :])


def _index(shard: Path, label: str | None, folder: Path) -> pa.Table:
    """Where the shard's pictures lie: as it was found before, if the shard and the question are the same."""
    stat = shard.stat()
    key = json.dumps([FORMAT, str(shard.resolve()), stat.st_size, stat.st_mtime_ns, label])
    kept = folder / f"{shard.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.parquet"
    try:
        return pq.read_table(kept, schema=SCHEMA)
    except (OSError, pa.ArrowException):  # not there yet, or of something that was killed
        table = _read_through(shard, label)
    try:
        with replacing(kept, written_here) as fresh:
            pq.write_table(table, fresh)
    except OSError as error:
        raise UnlogitError(
            f"index '{kept}' cannot be written ({error.strerror}); give a folder with index=FOLDER"
        ) from error
    return table


def _read_through(shard: Path, label: str | None) -> pa.Table:
    rows = []
    try:
        with tarfile.open(shard, "r:") as tar:
            for _, members in groupby((m for m in tar if m.isfile()), key=lambda member: _split(member.name)[0]):
                sample = {_split(member.name)[1]: member for member in members}
                picture = next((member for kind, member in sample.items() if kind in PICTURES), None)
                if picture is not None:
                    row = (picture.name, picture.offset_data, picture.size, _label(tar, sample, label))
                    rows.append(dict(zip(SCHEMA.names, row, strict=True)))
    except tarfile.TarError as error:
        raise UnlogitError(
            f"{shard}: not a readable plain tar file ({error}); is it complete, and not compressed?"
        ) from error
    return pa.Table.from_pylist(rows, SCHEMA)


def _split(name: str) -> tuple[str, str]:
    """(key, kind) of a member: what stands before and after the first dot of its file's name."""
    folder, slash, file = name.rpartition("/")
    key, _, kind = file.partition(".")
    return folder + slash + key, kind.lower()


def _label(tar: tarfile.TarFile, sample: dict[str, tarfile.TarInfo], label: str | None) -> str | None:
    """The label as JSON: of a file, or of a field in the JSON file."""

    def text(kind: str) -> str:
        stream = tar.extractfile(sample[kind])
        assert stream is not None
        return stream.read(MAX_TEXT).decode(errors="replace").strip()

    kind = label or "cls"
    if kind in ("cls", "txt") and kind in sample:
        written = text(kind)
        return json.dumps(int(written) if re.fullmatch(r"-?\d{1,18}", written) else written)
    if "json" in sample:
        try:
            fields = json.loads(text("json"))
        except ValueError:
            return None
        value = fields.get(label or "label") if isinstance(fields, dict) else None
        return None if value is None else json.dumps(value)
    return None


def _value(text: str | None) -> object:
    return None if text is None else json.loads(text)
