"""Checkpoints: two kept, replaced atomically, damage told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unlogit.errors import UnlogitError
from unlogit.runtime.checkpoint import Checkpoints


def test_the_newest_two_are_kept_and_the_newest_is_loaded(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.load() is None
    for images in (100, 200, 1000):
        checkpoints.save(images, {"images": images, "weights": torch.full((3,), float(images))})
    assert [p.name for p in checkpoints.paths()] == ["000000200.pt", "000001000.pt"]
    state = checkpoints.load()
    assert state is not None and state["images"] == 1000
    assert torch.equal(state["weights"], torch.full((3,), 1000.0))


def test_a_truncated_checkpoint_is_one_clear_line(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"images": 1})
    path = checkpoints.save(2, {"images": 2, "weights": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
        UnlogitError, match=r"000000002.pt' cannot be read .*delete it to resume from 000000001.pt"
    ) as told:
        checkpoints.load()
    assert "\n" not in str(told.value)


def test_a_failed_write_leaves_the_former_one(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"images": 1})

    class Unpicklable:
        def __reduce__(self) -> str:
            raise OSError("disk full")

    with pytest.raises(UnlogitError, match="cannot be written .*disk full.*free disk space"):
        checkpoints.save(2, {"images": 2, "bad": Unpicklable()})
    assert [p.name for p in tmp_path.iterdir()] == ["000000001.pt"]
    assert checkpoints.load() == {"images": 1}


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    torch.save({"images": print}, tmp_path / "000000001.pt")
    with pytest.raises(UnlogitError, match="cannot be read"):
        Checkpoints(tmp_path).load()


def test_the_newest_is_the_one_of_the_largest_number(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for images in (999_999_000, 1_000_001_000, 1_024_000_000):
        checkpoints.save(images, {"images": images})
    assert [p.name for p in checkpoints.paths()] == ["1000001000.pt", "1024000000.pt"]
    assert checkpoints.load() == {"images": 1_024_000_000}


def test_what_somebody_put_beside_the_checkpoints_stays(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for images in (1, 2, 3):
        checkpoints.save(images, {"images": images})
        (tmp_path / "checkpoints" / "5.pt").write_text("mine")
    assert checkpoints.load() == {"images": 3}
    checkpoints.remove()
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["5.pt"]
    (tmp_path / "checkpoints" / "5.pt").unlink()
    checkpoints.remove()
    assert not (tmp_path / "checkpoints").exists()
