"""`replacing`: what is there before, during and after, whatever goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlogit.files import replacing


def test_a_new_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.txt"
    with replacing(target) as fresh:
        fresh.write_text("whole")
        assert fresh.parent == target.parent, "another file system could not be renamed from"
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_an_old_file_stays_until_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target) as fresh:
        fresh.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_all_is_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), replacing(target) as fresh:
        fresh.write_text("ne")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for name in ("first", "second"):
        with replacing(target, folder=True) as fresh:
            (fresh / "inside").mkdir()
            (fresh / "inside" / name).write_text(name)
    assert [p.name for p in (target / "inside").iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_survives_an_error(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "weights").write_text("old")
    with pytest.raises(ValueError, match="half way"), replacing(target, folder=True) as fresh:
        (fresh / "weights").write_text("ne")
        raise ValueError("half way")
    assert (target / "weights").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with pytest.raises(ValueError, match="name"), replacing(target, folder=True) as fresh:
        name = fresh
        raise ValueError("name")
    name.mkdir()
    (name / "half").write_text("ha")
    with replacing(target, folder=True) as fresh:
        (fresh / "whole").write_text("whole")
    assert [p.name for p in target.iterdir()] == ["whole"]
    assert list(tmp_path.iterdir()) == [target]
