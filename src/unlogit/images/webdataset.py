"""`webdataset:SHARDS`: tar files of images and their labels, for millions of images.

`webdataset:shards/{000..099}.tar` or `webdataset:shards/*.tar`. Files in a shard that share a name up to its first dot
are one image: `n01.jpg` and its label `n01.cls` (a number), or a field "label" in `n01.json`; another field with
`?label=FIELD`, the text of `n01.txt` with `?label=txt`. They need not stand side by side, and links within a shard are
followed. `?classes=FILE` names the classes, one a line. Each shard is read through once, for where its images lie;
that index is kept in the folder `?index=FOLDER`, or the user's cache, and any image can then be read at will. Shards
must be plain tar files on this machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import posixpath
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor
from tqdm import tqdm

from unlogit import specs
from unlogit.errors import BrokenImage, UnlogitError
from unlogit.files import replacing, written_here
from unlogit.images._base import Hash, ImageSource, add_file
from unlogit.images._decoding import UNREADABLE, decode, read_regular, suffixes
from unlogit.images._inventory import Inventory
from unlogit.images._labels import classes
from unlogit.outside import file_name, matching, plain
from unlogit.settings import Checked

SCHEMA = pa.schema([("name", pa.string()), ("offset", pa.int64()), ("size", pa.int64()), ("label", pa.string())])
"""Columns of an index: offset and length of an image's bytes in the shard; its label as it is written."""
FORMAT = 2
INVENTORY = b"unlogit"
"""Key of an index's metadata under which the shard's inventory stands."""
MAX_TEXT = 1 << 20
"""Bytes of a label's file, and of a header in a shard."""
PROBED = 16
"""Images whose bytes are part of a fingerprint."""
LINKS = 8
"""Links that are followed from one to the next."""


class ShardImages(ImageSource):
    """Images in the order of the shards and in them."""

    def __init__(self, shards: list[Path], spec: str, label: str | None, index: Path, names: tuple[str, ...]) -> None:
        self.spec = spec
        self._shards = shards
        bar = tqdm(shards, desc=f"index of {plain(str(shards[0].parent))}", unit="shard", leave=False, disable=None)
        tables = [_index(shard, label, index) for shard in bar]
        self.inventory = Inventory("members")
        for table in tables:
            self.inventory.merge(**json.loads(table.schema.metadata[INVENTORY]))
        self._starts = np.cumsum([0, *map(len, tables)])
        self._table = pa.concat_tables(table.replace_schema_metadata() for table in tables).combine_chunks()
        shown = plain(spec)
        if not len(self):
            raise UnlogitError(
                f"{shown}: its {len(shards)} shards hold no images ({', '.join(suffixes()[:6])} and others); "
                f"{self.inventory.summary()}"
            )
        self._offsets, self._sizes = (self._table.column(c).to_numpy() for c in ("offset", "size"))
        values = [_value(text) for text in self._table.column("label").to_pylist()]
        if label is not None and not any(value is not None for value in values):
            raise UnlogitError(f"{shown}: no image has a '{label}', neither as a file nor as a field of its json file")
        self._labels, self.class_names = classes(values, shown, names)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def labels(self) -> Tensor:
        return self._labels

    def decode(self, index: int) -> Tensor:
        return decode(self._encoded(index), self._name(index))

    def _encoded(self, index: int) -> bytes:
        try:
            return read_regular(self._shard(index), int(self._offsets[index]), int(self._sizes[index]))
        except (OSError, ValueError) as error:
            raise BrokenImage(f"{self._name(index)}: {getattr(error, 'strerror', None) or error}") from error

    def _shard(self, index: int) -> Path:
        return self._shards[int(np.searchsorted(self._starts, index, side="right")) - 1]

    def _name(self, index: int) -> str:
        return f"{plain(str(self._shard(index)))}/{self._table.column('name')[index].as_py()}"

    def _add_images(self, digest: Hash) -> None:
        for shard in self._shards:
            add_file(digest, str(shard.resolve()), shard)
        # Dates are sometimes set to one value for all files, as by packagers: a few images as well.
        for index in sorted({part * (len(self) - 1) // (PROBED - 1) for part in range(PROBED)}):
            with contextlib.suppress(BrokenImage):
                digest.update(self._encoded(index))


@dataclass(frozen=True)
class Options(Checked):
    """Options of this source; see the module."""

    label: str | None = None
    classes: Path | None = None
    index: Path | None = None


def open_source(rest: str, spec: str) -> ShardImages:
    pattern, options = specs.read(Options, rest, spec)
    if "://" in pattern:
        raise UnlogitError(f"{spec}: shards must be local files, since images are read in random order; download them")
    shards: list[Path] = []
    for each in _braces(pattern):
        found = matching(each)
        if not found:
            raise UnlogitError(
                f"{plain(spec)}: no file matches '{plain(each)}'; write it as webdataset:FOLDER/{{000..099}}.tar"
            )
        shards += found
    names: tuple[str, ...] = ()
    if options.classes is not None:
        try:
            names = tuple(read_regular(options.classes).decode().splitlines())
        except (OSError, ValueError) as error:
            raise UnlogitError(f"option 'classes={options.classes}' of '{plain(spec)}': {error}") from error
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "unlogit" / "webdataset"
    return ShardImages(shards, spec, options.label, options.index or cache.expanduser(), names)


def _braces(pattern: str) -> Iterator[str]:
    """`a{08..10}` as a08, a09, a10 and `{x,y}` as x, y, as a shell expands them."""
    match = re.search(r"\{(?:(\d{1,18})\.\.(\d{1,18})|([^{}]*,[^{}]*))\}", pattern)
    if not match:
        yield pattern
        return
    first, last, listed = match.groups()
    if listed:
        choices: Iterable[str] = listed.split(",")
    else:
        padded = any(number[0] == "0" and len(number) > 1 for number in (first, last))
        width = max(len(first), len(last)) if padded else 0
        choices = (f"{number:0{width}}" for number in range(int(first), int(last) + 1))
    for choice in choices:
        yield from _braces(pattern[: match.start()] + choice + pattern[match.end() :])


def _index(shard: Path, label: str | None, folder: Path) -> pa.Table:
    """Where the shard's images lie: as it was found before, if the shard and the question are the same."""
    status = shard.stat()
    key = json.dumps([FORMAT, str(shard.resolve()), status.st_size, status.st_mtime_ns, label, suffixes()])
    path = folder / f"{file_name(shard.stem)[:100]}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.parquet"
    try:
        table = pq.read_table(path)
        if table.schema.equals(SCHEMA) and INVENTORY in (table.schema.metadata or {}):
            return table
    except (OSError, pa.ArrowException):  # not there yet, or of something that was killed
        pass
    table = _read_through(shard, label)
    try:
        with replacing(path, written_here) as fresh:
            pq.write_table(table, fresh)
    except OSError as error:
        raise UnlogitError(
            f"index '{plain(str(path))}' cannot be written ({error.strerror}); give a folder with index=FOLDER"
        ) from error
    return table


@dataclass(frozen=True, slots=True)
class _Member:
    """A file in a shard.

    Attributes:
        position: of its header among the members.
        offset, size: where its bytes lie in the shard.
        target: for a link, the name of the file that it leads to.
    """

    name: str
    position: int
    offset: int
    size: int
    target: str | None = None


def _read_through(shard: Path, label: str | None) -> pa.Table:
    """The index of a shard; raises `UnlogitError` where it is damaged or cut short."""
    inventory = Inventory("members")
    images = {suffix[1:] for suffix in suffixes()}
    samples: list[dict[str, _Member]] = []
    latest: dict[str, dict[str, _Member]] = {}
    files: dict[str, _Member] = {}
    try:
        for member in _members(shard, inventory):
            files[_clean(member.name)] = member
            key, kind = _split(member.name)
            # The parts of an image may stand anywhere; a second part of one kind begins another of the same name.
            if kind in latest.setdefault(key, {}) or not latest[key]:
                latest[key] = {}
                samples.append(latest[key])
            latest[key][kind] = member
        rows = []
        with shard.open("rb") as stream:
            for sample in samples:
                resolved = {kind: _followed(member, files, inventory) for kind, member in sample.items()}
                present = {kind: member for kind, member in resolved.items() if member is not None}
                row = _row(present, stream, label, images, inventory)
                if row is not None:
                    rows.append(row)
    except (tarfile.TarError, ArithmeticError, ValueError, EOFError, MemoryError, RecursionError) as error:
        reason = plain(str(error)) or type(error).__name__
        raise UnlogitError(
            f"{plain(str(shard))}: not a readable plain tar file ({reason}); is it complete, and not compressed?"
        ) from error
    rows.sort()
    columns = [pa.array([row[1 + i] for row in rows], field.type) for i, field in enumerate(SCHEMA)]
    metadata = {"taken": inventory.taken, "left_out": inventory.left_out, "examples": inventory.examples}
    return pa.table(columns, SCHEMA.with_metadata({INVENTORY: json.dumps(metadata)}))


class _Headers(io.BufferedReader):
    """A shard whose headers are read: none is large, whatever it claims."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MAX_TEXT:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


def _members(shard: Path, inventory: Inventory) -> Iterator[_Member]:
    """The visible files and links of a shard; raises `tarfile.TarError` where it does not end as a tar file does."""
    whole = shard.stat().st_size
    with _Headers(io.FileIO(shard)) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        position, before = 0, 0
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # They would all be kept, at a kilobyte each.
            if not before < tar.offset <= whole or member.size < 0:
                raise tarfile.ReadError(f"member '{member.name}' claims {member.size:,} bytes, the shard has {whole:,}")
            position, before = position + 1, tar.offset
            name = member.name
            if posixpath.basename(name).startswith("."):
                inventory.leave_out("hidden", name)
            elif member.issparse():
                inventory.leave_out("sparse", name)
            elif member.isreg():
                yield _Member(plain(name), position, member.offset_data, member.size)
            elif member.islnk():
                yield _Member(plain(name), position, 0, 0, _clean(member.linkname))
            elif member.issym():
                target = posixpath.join(posixpath.dirname(name), member.linkname)
                yield _Member(plain(name), position, 0, 0, _clean(target))
            elif not member.isdir():
                inventory.leave_out("not a regular file", name)
        # A header that is damaged or cut ends the loop like the end of the archive does.
        stream.seek(tar.offset)
        block = stream.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("cut short: it does not end with empty blocks")
        if any(block):
            raise tarfile.ReadError(f"damaged at byte {tar.offset:,}")
        after = stream.read(MAX_TEXT).lstrip(b"\0")
        if after:
            inventory.leave_out("behind the end of the archive, as when tar files are joined with cat", str(shard))


def _followed(member: _Member, files: Mapping[str, _Member], inventory: Inventory) -> _Member | None:
    """The member, where it is a link with the place of what it leads to; None where that is not in the shard."""
    target: _Member | None = member
    for _ in range(LINKS):
        if target is None or target.target is None:
            break
        target = files.get(target.target)
    if target is None or target.target is not None:
        inventory.leave_out("link to a file that is not in the shard", member.name)
        return None
    return _Member(member.name, member.position, target.offset, target.size)


def _row(
    sample: Mapping[str, _Member],
    stream: io.BufferedReader,
    label: str | None,
    images: set[str],
    inventory: Inventory,
) -> tuple[int, str, int, int, str | None] | None:
    """Position, name, offset, size and label of a sample's image, or None where it has none; all are counted."""
    kind = next((kind for kind in sample if kind in images), None)
    written, source = (None, None) if kind is None else _label(stream, sample, label)
    for each, member in sample.items():
        if each in (kind, source):
            inventory.taken += 1
        else:
            inventory.leave_out(_reason(each, kind is not None, label, images), member.name)
    if kind is None:
        return None
    return sample[kind].position, sample[kind].name, sample[kind].offset, sample[kind].size, written


def _reason(kind: str, has_image: bool, label: str | None, images: set[str]) -> str:
    """Why a member is not taken."""
    last = kind.rpartition(".")[2]
    if f".{last}" in UNREADABLE and last not in images:
        return f"in a format that Pillow does not decode here (.{last})"
    if last in images:
        return "further image of a sample" if kind == last else "image with more than one dot in its name"
    if kind in ("cls", "json", label) and not has_image:
        return "label without an image"
    return f"neither image nor label (.{kind[:20]})" if kind else "without a suffix"


def _clean(name: str) -> str:
    """A name in the shard as links are compared: without `./` and `..`."""
    return posixpath.normpath(plain(name)).lstrip("/")


def _split(name: str) -> tuple[str, str]:
    """(key, kind) of a member: what stands before and after the first dot of its file's name."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    key, _, kind = file.partition(".")
    return folder + slash + key, kind.lower()


def _label(
    stream: io.BufferedReader, sample: Mapping[str, _Member], label: str | None
) -> tuple[str | None, str | None]:
    """The label as JSON, of a file or of a field in the JSON file; and the kind of that file."""

    def text(kind: str) -> str:
        stream.seek(sample[kind].offset)
        return stream.read(min(sample[kind].size, MAX_TEXT)).decode(errors="replace").strip()

    kind = label or "cls"
    if kind in ("cls", "txt") and kind in sample:
        written = text(kind)
        return json.dumps(int(written) if re.fullmatch(r"-?\d{1,18}", written) else written), kind
    if "json" in sample:
        try:
            fields = json.loads(text("json"))
        except (ValueError, RecursionError):
            return None, None
        value = fields.get(label or "label") if isinstance(fields, dict) else None
        return (None, None) if value is None else (json.dumps(value), "json")
    return None, None


def _value(text: str | None) -> object:
    return None if text is None else json.loads(text)
