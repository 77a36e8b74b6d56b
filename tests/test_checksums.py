"""Damage that torch and safetensors do not see: flipped bits and lost blocks, anywhere in a file."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from unlogit.checksums import checksum, damage
from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError
from unlogit.runtime.checkpoint import Checkpoints

FLIPS, BLOCKS, BLOCK = 300, 60, 4096


def state() -> dict[str, Any]:
    """Of a run, in small: tensors of several kinds, numbers and text, 60 kB."""
    generator = torch.Generator().manual_seed(0)
    tensors = {f"layer{i}": torch.randn(1_000 + i, generator=generator) for i in range(12)}
    return {"images": 7, "seed": "a", "network": tensors, "half": torch.arange(50).half(), "count": torch.tensor(3)}


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return bool(one == other)


def flipped(whole: bytes, rng: random.Random) -> bytes:
    """One bit the other way round."""
    damaged, place = bytearray(whole), rng.randrange(len(whole))
    damaged[place] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def blanked(whole: bytes, rng: random.Random) -> bytes:
    """A block of zeros, as a disk leaves it that lost one."""
    place = rng.randrange(0, len(whole), BLOCK)
    return whole[:place] + bytes(len(whole[place : place + BLOCK])) + whole[place + BLOCK :]


@pytest.mark.parametrize(("harm", "times"), [(flipped, FLIPS), (blanked, BLOCKS)])
def test_a_damaged_checkpoint_never_loads_as_another_one(
    harm: Callable[[bytes, random.Random], bytes], times: int, tmp_path: Path
) -> None:
    checkpoints, rng = Checkpoints(tmp_path), random.Random(0)
    path = checkpoints.save(1, state())
    whole, refused = path.read_bytes(), 0
    with zipfile.ZipFile(path) as archive:
        values = sum(record.file_size for record in archive.infolist())
    for _ in range(times):
        path.write_bytes(harm(whole, rng))
        try:
            # What lies between the records decides nothing.
            assert equal(checkpoints.load(), state())
        except UnlogitError as error:
            refused += 1
            assert "\n" not in str(error) and "cannot be read" in str(error)
    assert refused >= 0.9 * times * values / len(whole), refused
    path.write_bytes(whole)
    assert equal(checkpoints.load(), state())


def test_every_bit_of_a_record_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(state(), path)
    whole, rng = path.read_bytes(), random.Random(1)
    places = [whole.index(tensor.numpy().tobytes()) for tensor in state()["network"].values()]
    for place in places:
        for _ in range(10):
            damaged = bytearray(whole)
            damaged[place + rng.randrange(4_000)] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            assert "checksum of its record" in (damage(path) or "")


@pytest.mark.parametrize("query", ["checkpoint:{}?arch=timm:test_resnet", "madry:{}?arch=timm:test_resnet&size=64"])
def test_a_user_s_damaged_checkpoint_is_refused(query: str, tmp_path: Path) -> None:
    path, rng = tmp_path / "w.pt", random.Random(2)
    torch.save(timm.create_model("test_resnet", num_classes=5).state_dict(), path)
    open_classifier(query.format(path))
    whole = path.read_bytes()
    for _ in range(5):
        damaged = bytearray(whole)
        damaged[len(whole) // 4 + rng.randrange(len(whole) // 2)] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(UnlogitError, match="is damaged .*: copy it again"):
            open_classifier(query.format(path))


def test_files_without_checksums_are_not_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(state(), path, _use_new_zipfile_serialization=False)
    assert damage(path) is None
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state(), path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert damage(path) is None and equal(torch.load(path, weights_only=True), state())


def test_a_compressed_bomb_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(50_000_000))
    assert damage(path) == "its records are larger than the file"


def test_a_checksum_tells_names_kinds_shapes_and_values_apart() -> None:
    plain = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    others = [
        {"a": torch.zeros(3, 2), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3).half(), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3), "c": torch.ones(1)},
        {"a": torch.zeros(2, 3), "b": -torch.ones(1)},
    ]
    assert checksum(plain) == checksum(dict(reversed(plain.items())))
    assert len({checksum(one) for one in [plain, *others]}) == 5
    assert len(checksum({"empty": torch.zeros(0), "one": torch.tensor(True), "b": torch.ones(2).bfloat16()})) == 8
