"""The progress of trainings, on a terminal and in a file that several of them write."""

from __future__ import annotations

import sys
import time

import pytest

from unlogit.runtime import bar
from unlogit.runtime.bar import ProgressBar


def test_two_trainings_in_one_file_are_whole_lines_with_their_names(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bar, "LINE_SECONDS", 0.0)
    # As with `make demo`, where each process draws its bar below the others'.
    monkeypatch.setenv("TQDM_POSITION", "1")
    with (
        ProgressBar("robust/logits", 64, 0, shown=True) as one,
        ProgressBar("standard/logits", 64, 16, shown=True) as two,
    ):
        for step in range(4):
            one.update(16)
            one.set_postfix(loss="0.500")
            one.report(f"message {step}")
            if step:
                two.update(16)
        two.report("in stdout", sys.stdout)
    out, err = capfd.readouterr()
    assert out == "standard/logits: in stdout\n"
    assert "\r" not in err and "\x1b" not in err
    lines = err.splitlines()
    assert all(line.startswith(("robust/logits: ", "standard/logits: ")) for line in lines), lines
    assert "robust/logits: message 3" in lines
    for name, count in (("robust", 5), ("standard", 4)):
        progress = [line for line in lines if line.startswith(name) and " images in " in line]
        assert len(progress) == count, "one for each update, and one at the end"
        assert progress[-1].startswith(f"{name}/logits: 64.0 of 64.0 images in 00:0")
    assert any(line.endswith(", loss=0.500") for line in lines)


def test_lines_in_a_file_are_few(capfd: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("run", 3_000, 0, shown=True) as one:
        for step in range(3_000):
            one.update(1)
            one.set_postfix(loss=str(step))
    assert capfd.readouterr().err.count("\n") <= 2


def test_a_terminal_has_a_bar(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(bar, "BAR_SECONDS", 0.0)
    with ProgressBar("run", 4, 0, shown=True) as one:
        for _ in range(4):
            time.sleep(0.01)
            one.update(1)
        one.report("a message")
    err = capfd.readouterr().err
    assert err.count("\rrun: ") > 4
    assert "a message\n" in err and "run: a message" not in err


def test_what_is_not_shown_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("run", 4, 0, shown=False) as one:
        one.update(4)
    assert capfd.readouterr() == ("", "")
