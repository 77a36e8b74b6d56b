"""`replacing`, `locked` and what they refuse: what is there before, during and after, whatever goes wrong."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unlogit import files
from unlogit.errors import UnlogitError
from unlogit.files import (
    LOCK,
    check_replaceable,
    holding,
    is_unfinished,
    locked,
    marked,
    recover,
    replacing,
    report_disk_full,
    to_json,
    unique_name,
    written_here,
)

OURS = marked(b"ours: ")
MODEL = holding("config.json", {"format"}, lambda _: ("weights",))


def write_model(target: Path, weights: str = "new") -> None:
    with replacing(target, MODEL, folder=True) as fresh:
        (fresh / "config.json").write_text('{"format": 1}')
        (fresh / "weights").write_text(weights)


@pytest.fixture(params=["exchange", "fallback"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's exchange of folders, and as on a file system without."""
    if request.param == "fallback":
        monkeypatch.setattr(files, "_exchange", lambda _one, _other: False)


def test_a_new_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.txt"
    with replacing(target) as fresh:
        fresh.write_text("whole")
        assert fresh.parent.parent == target.parent, "another file system could not be renamed from"
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_an_old_file_stays_until_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("ours: old")
    with replacing(target, OURS) as fresh:
        fresh.write_text("new")
        assert target.read_text() == "ours: old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_all_is_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), replacing(target, written_here) as fresh:
        fresh.write_text("ne")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.usefixtures("either_way")
def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for name in ("first", "second"):
        with replacing(target, written_here, folder=True) as fresh:
            (fresh / "inside").mkdir()
            (fresh / "inside" / name).write_text(name)
    assert [p.name for p in (target / "inside").iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_survives_an_error(tmp_path: Path) -> None:
    target = tmp_path / "model"
    write_model(target, "old")
    with pytest.raises(ValueError, match="half way"), replacing(target, MODEL, folder=True) as fresh:
        (fresh / "weights").write_text("ne")
        raise ValueError("half way")
    assert (target / "weights").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.usefixtures("either_way")
def test_what_a_link_points_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    write_model(tmp_path / "elsewhere" / "model", "old")
    (tmp_path / "model").symlink_to(tmp_path / "elsewhere" / "model")
    write_model(tmp_path / "model")
    assert (tmp_path / "model").is_symlink()
    assert (tmp_path / "elsewhere" / "model" / "weights").read_text() == "new"
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["model"]


def test_only_what_is_new_empty_or_ours_is_replaced(tmp_path: Path) -> None:
    theirs, ours, empty = (tmp_path / name for name in ("theirs.txt", "ours.txt", "empty.txt"))
    theirs.write_text("a thesis")
    ours.write_text("ours: a report")
    empty.touch()
    for target in (ours, empty):
        with replacing(target, OURS) as fresh:
            fresh.write_text("new")
        assert target.read_text() == "new"
    for recogniser in (OURS, None):
        refused = pytest.raises(UnlogitError, match=r"^'[^\n]*theirs.txt' exists and unlogit did not write it[^\n]*$")
        with refused, replacing(theirs, recogniser):
            raise AssertionError("refused before any work")
    assert theirs.read_text() == "a thesis"
    # A folder is no file, a file no folder, and a pipe neither.
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for target, folder in ((tmp_path / "folder", False), (ours, True), (tmp_path / "pipe", False)):
        with pytest.raises(UnlogitError, match="did not write it"):
            check_replaceable(target, written_here, folder=folder)


@pytest.mark.parametrize(
    "content",
    [
        {"thesis.txt": "years of work"},
        {"config.json": "{}", "weights": "theirs"},
        {"config.json": "[1]"},
        {"config.json": '{"format": '},
        {"config.json": b"\xff\xfe"},
        {"config.json": '{"format": 1}', "weights": "", "notes.txt": "years of work"},
    ],
)
def test_a_folder_of_somebody_else_s_is_refused(tmp_path: Path, content: dict[str, str | bytes]) -> None:
    target = tmp_path / "model"
    target.mkdir()
    for name, text in content.items():
        (target / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UnlogitError, match="did not write it"):
        write_model(target)
    assert {p.name for p in target.iterdir()} == set(content)


def test_an_empty_folder_and_what_a_file_manager_leaves_are_no_hindrance(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    write_model(target, "old")
    (target / ".DS_Store").touch()
    write_model(target)
    assert {p.name for p in target.iterdir()} == {"config.json", "weights"}


def test_what_version_0_1_0_left_goes_and_comes_back(tmp_path: Path) -> None:
    (tmp_path / ".inverter.123.old").mkdir()
    (tmp_path / ".inverter.123.old" / "weights").write_text("former")
    (tmp_path / ".inverter.123.partial").mkdir()
    (tmp_path / ".config.json.123.partial").write_text("{")
    (tmp_path / ".profile.20240101.old").write_text("somebody's")
    recover(tmp_path, "inverter", "*.json")
    assert {p.name for p in tmp_path.iterdir()} == {"inverter", ".profile.20240101.old"}
    assert (tmp_path / "inverter" / "weights").read_text() == "former"


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as fresh:
        fresh.write_text("half")
        recover(tmp_path)
        assert fresh.read_text() == "half"


# For each n, a child is killed before its n-th file operation; the next start must find and leave everything whole.
KILLED = """
import os, signal, sys
from pathlib import Path
from unlogit import files

folder, exchange = Path(sys.argv[1]), sys.argv[2] == "exchange"
if not exchange:
    files._exchange = lambda one, other: False
model = files.holding("config.json", {"format"}, lambda _: ("weights",))
FILE_EVENTS = ("open", "os.", "shutil.", "fcntl.", "tempfile.")


def write(text):
    with files.replacing(folder / "metrics.jsonl", files.written_here) as fresh:
        fresh.write_text(text)
    with files.replacing(folder / "inverter", model, folder=True) as fresh:
        (fresh / "config.json").write_text('{"format": 1}')
        (fresh / "weights").write_text(text)


def work(n):
    left = n

    def kill(event, args):
        nonlocal left
        if event.startswith(FILE_EVENTS):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    with files.locked(folder):
        sys.addaudithook(kill)
        files._recovered.clear()
        write("new" * n)
    os._exit(0)


def start():
    files._recovered.clear()
    files.recover(folder)
    left = {path.name for path in folder.iterdir()} - {files.LOCK}
    assert left == {"metrics.jsonl", "inverter"}, left
    assert {path.name for path in (folder / "inverter").iterdir()} == {"config.json", "weights"}


with files.locked(folder):
    write("first")
n, missing = 0, 0
while True:
    n += 1
    child = os.fork()
    if not child:
        work(n)
    code = os.waitpid(child, 0)[1]
    missing += not (folder / "inverter" / "weights").exists()
    start()
    for path in (folder / "metrics.jsonl", folder / "inverter" / "weights"):
        text = path.read_text()
        assert text == "first" or text == "new" * (len(text) // 3) and len(text) // 3 <= n, (n, text)
    if code == 0:
        break
    assert os.WIFSIGNALED(code), code
assert not exchange or not missing, missing
print(n)
"""


@pytest.mark.parametrize("way", ["exchange", "fallback"])
def test_a_kill_before_any_file_operation_loses_nothing_and_leaves_no_litter(tmp_path: Path, way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), way], capture_output=True, text=True, timeout=120, check=False
    )
    assert not done.stderr
    assert int(done.stdout) > 20, "kills"


def test_one_process_at_a_time_writes_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with locked(run):
        told = subprocess.run(
            [
                sys.executable,
                "-c",
                f"from unlogit.files import *\nfrom pathlib import Path\nwith locked(Path({str(run)!r})): ...",
            ],
            capture_output=True,
            text=True,
            check=False,
        ).stderr.splitlines()[-1]
        assert f"run' is being written by process {os.getpid()} on " in told and " since 2" in told
        (run / "config.json").touch()
        assert is_unfinished(run)
    assert not is_unfinished(run)
    with locked(run):
        pass


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom unlogit.files import locked\n"
        "with locked(Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "run")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert is_unfinished(tmp_path / "run")
    with locked(tmp_path / "run"):
        pass
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_run_that_fails_at_once_leaves_nothing_and_a_later_failure_its_sign(tmp_path: Path) -> None:
    with pytest.raises(ValueError), locked(tmp_path / "run"):
        raise ValueError
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError), locked(tmp_path / "run"):
        (tmp_path / "run" / "metrics.jsonl").touch()
        raise ValueError
    assert is_unfinished(tmp_path / "run")


def test_json_has_null_for_what_is_no_number() -> None:
    value = {"a": math.nan, "b": [math.inf, (-math.inf, 1.5)], "c": {"d": Path("e")}, "f": None, "g": True}
    assert json.loads(to_json(value)) == {
        "a": None,
        "b": [None, [None, 1.5]],
        "c": {"d": "e"},
        "f": None,
        "g": True,
    }


def test_names_differ_on_any_file_system() -> None:
    assert unique_name("a", ["b"]) == "a"
    assert unique_name("A", ["a", "a-2"]) == "A-3"


@pytest.fixture
def small_files() -> Iterator[Callable[[bool], None]]:
    """Switch the system's limit on the size of a file on, which stands for a full disk, and off."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda on: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000 if on else soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line(tmp_path: Path, small_files: Callable[[bool], None]) -> None:
    small_files(True)
    with pytest.raises(UnlogitError, match=r"cannot write to .*File too large"), report_disk_full(tmp_path):
        (tmp_path / "metrics.jsonl").write_bytes(bytes(30_000))
    with pytest.raises(UnlogitError, match=r"cannot write to .*os error"), report_disk_full(tmp_path):
        save_file({"weight": torch.zeros(30_000)}, tmp_path / "model.safetensors")
    with pytest.raises(UnlogitError, match="cannot write to"), report_disk_full(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="nowhere"), report_disk_full(tmp_path):
        (tmp_path / "nowhere" / "file").write_text("")
