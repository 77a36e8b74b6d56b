"""Damaged and hostile files: one line, or left out and counted; never a traceback, and soon."""

from __future__ import annotations

import io
import os
import random
import struct
import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import _decoding, open_images

LIMIT = 10


@pytest.fixture(autouse=True)
def in_time() -> object:
    started = time.process_time()
    yield
    assert time.process_time() - started < 60  # For a whole fuzzing test; single files below.


def png(seed: int = 0, size: int = 12) -> bytes:
    stream = io.BytesIO()
    noise = random.Random(seed).randbytes(3 * size * size)
    Image.frombytes("RGB", (size, size), noise).save(stream, "PNG")
    return stream.getvalue()


def opened(spec: str) -> str:
    """What opening a source and decoding all of it comes to: nothing, or the line for its user."""
    started = time.process_time()
    try:
        source = open_images(spec)
        for index in range(len(source)):
            source.read([index])
        assert source.fingerprint() and source.inventory.summary()
    except UnlogitError as error:
        assert len(str(error).splitlines()) == 1 and str(error).encode()
        return str(error)
    finally:
        assert time.process_time() - started < LIMIT
    return ""


# Files that are none


@pytest.mark.parametrize("name", ["pipe.png", "zero.png", "pipe"])
def test_only_regular_files_are_read(tmp_path: Path, name: str) -> None:
    if name.startswith("pipe"):
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(BrokenImage, match=f"{name}: not a regular file"):
        _decoding.decode_file(tmp_path / name)
    assert "1 not a regular file" in opened(f"folder:{tmp_path}")
    (tmp_path / "good.png").write_bytes(png())
    assert not opened(f"folder:{tmp_path}")


def test_a_sparse_file_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(b"RIFF\xff\xff\xff\x7fWEBPVP8 ")
    os.truncate(tmp_path / "a.webp", 1 << 40)
    with pytest.raises(BrokenImage, match=r"a\.webp: 1,099,511,627,776 bytes are over the limit"):
        open_images(f"folder:{tmp_path}").decode(0)


def test_empty_files_and_bombs_are_broken_images(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(png()[:12] + head + struct.pack(">I", zlib.crc32(head)) + png()[33:])
    source = open_images(f"folder:{tmp_path}")
    found = source.read([0, 1])
    assert [isinstance(one, BrokenImage) for one in found] == [True, True] and "limit" in str(found[0])
    (tmp_path / "none").mkdir()
    assert "holds no images" in opened(f"folder:{tmp_path}/none")


# Shards


def shard(path: Path, *members: tarfile.TarInfo) -> str:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("a.png", "b.png"):
            member = tarfile.TarInfo(name)
            member.size = len(png())
            tar.addfile(member, io.BytesIO(png()))
        for member in members:
            tar.addfile(member)
    return f"webdataset:{path}?index={path.parent}/index"


@pytest.mark.parametrize("size", [1 << 62, 1 << 70, -5, -512, "x"])
def test_sizes_that_cannot_be(tmp_path: Path, size: object) -> None:
    member = tarfile.TarInfo("c.png")
    member.pax_headers = {"size": str(size)}
    message = opened(shard(tmp_path / "a.tar", member))
    assert not message or "a.tar: not a readable plain tar file" in message
    if isinstance(size, int) and size > 0:
        assert message


def test_a_header_that_claims_exabytes(tmp_path: Path) -> None:
    spec = shard(tmp_path / "a.tar")
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        member = tarfile.TarInfo("x")
        member.type, member.size = kind, 1 << 60
        (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
        assert "not a readable plain tar file" in opened(spec)


def test_a_sparse_member_of_terabytes_is_left_out(tmp_path: Path) -> None:
    member = tarfile.TarInfo("c.png")
    member.pax_headers = {"GNU.sparse.size": str(1 << 45), "GNU.sparse.map": f"0,0,{1 << 45},0"}
    spec = shard(tmp_path / "a.tar", member)
    assert not opened(spec)
    source = open_images(spec)
    assert len(source) == 2 and dict(source.inventory.left_out) == {"sparse": 1}


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    member = tarfile.TarInfo(os.fsdecode(b"c\xff\x1b[31m.png"))
    spec = shard(tmp_path / "a.tar", member)
    assert not opened(spec)
    with pytest.raises(BrokenImage, match=r"a\.tar/c\\udcff\\x1b\[31m\.png: "):
        open_images(spec).decode(2)


def test_labels_that_are_none(tmp_path: Path) -> None:
    for number, text in enumerate(
        ('{"label": [1]}', '{"label": {"a": 1}}', "[" * 100_000, '{"label": 1' + "0" * 5_000)
    ):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
            for name, content in (("a.png", png()), ("a.json", text.encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        message = opened(f"webdataset:{tmp_path}/{number}.tar?index={tmp_path}/index")
        assert not message or "names no class" in message


# Parquet files


def table(path: Path, label: object = None) -> str:
    images = pa.array(
        [{"bytes": png(i), "path": None} for i in range(8)], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    columns = {"image": images, "label": pa.array(["cat", "dog"] * 4) if label is None else label}
    pq.write_table(pa.table(columns), path)
    return f"parquet:{path}"


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (pa.array([[1]] * 8), "labels must be whole numbers or words"),
        (pa.array([{"a": 1}] * 8), "labels must be whole numbers or words"),
        (pa.array([1.5] * 8), "labels must be whole numbers or words"),
        (pa.array([2**64 - 1] * 8, pa.uint64()), "labels must count from 0"),
    ],
)
def test_columns_of_wrong_types(tmp_path: Path, label: pa.Array, message: str) -> None:
    assert message in opened(table(tmp_path / "a.parquet", label))
    pq.write_table(pa.table({"image": pa.array([1, 2])}), tmp_path / "b.parquet")
    assert "expected binary or a struct with bytes" in opened(f"parquet:{tmp_path}/b.parquet")
    pq.write_table(pa.table({"image": pa.array([{"bytes": "text"}])}), tmp_path / "c.parquet")
    assert "expected binary or a struct with bytes" in opened(f"parquet:{tmp_path}/c.parquet")


def test_a_file_that_claims_more_rows_than_it_has_bytes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": pa.nulls(10_000_000, pa.binary())}), tmp_path / "a.parquet")
    assert "claims 10,000,000 rows in" in opened(f"parquet:{tmp_path}/a.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 100, b"PAR1\xff\xff\xff\x7fPAR1"])
def test_files_that_are_no_parquet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    assert "a.parquet: not a readable parquet file" in opened(f"parquet:{tmp_path}/a.parquet")


# Fuzzing: any bytes of a good file are changed, cut or doubled

EDITS = st.lists(
    st.tuples(st.sampled_from(["flip", "zero", "cut", "copy", "big"]), st.floats(0, 1), st.binary(max_size=8)),
    min_size=1,
    max_size=4,
)


def mutated(content: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    data = bytearray(content)
    for what, where, new in edits:
        # Most of what a file says of itself stands at its ends.
        at = (
            int(min(where**3, 1 - (1 - where) ** 3) * len(data))
            if where < 0.9
            else max(0, len(data) - 1 - int(300 * (where - 0.9) * 10))
        )
        match what:
            case "flip":
                data[at : at + len(new)] = new
            case "zero":
                data[at : at + 64] = bytes(len(data[at : at + 64]))
            case "cut":
                del data[at : at + 1 + len(new) * 40]
            case "copy":
                data[at:at] = data[at : at + 600]
            case "big":
                data[at : at + 4] = b"\xff\xff\xff\x7f"
    return bytes(data)


@pytest.mark.parametrize("make", [table, shard])
def test_mutated_files(make: Callable[[Path], str], tmp_path: Path) -> None:
    file = tmp_path / "good"
    spec = make(file)
    good = file.read_bytes()
    started = time.monotonic()

    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(EDITS)
    def check(edits: list[tuple[str, float, bytes]]) -> None:
        if time.monotonic() - started < LIMIT:  # Bounded on a slow machine.
            file.write_bytes(mutated(good, edits))
            opened(spec)

    check()
