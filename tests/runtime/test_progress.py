"""Signals that ask a loop to stop."""

from __future__ import annotations

import os
import signal

import pytest

from unlogit.runtime import progress
from unlogit.runtime.progress import announce, in_words, interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_a_launcher_passes_on_asks_once(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    former = signal.getsignal(number)
    with interruptible() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupted()
    assert signal.getsignal(number) == former
    assert capfd.readouterr().err.count("stopping after this step") == 1


def test_one_of_several_processes_answers(capfd: pytest.CaptureFixture[str]) -> None:
    with interruptible(announced=False) as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
    assert not capfd.readouterr().err


def test_a_stage_is_announced_by_the_first_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    announce("opening a\nb")
    assert capsys.readouterr().err == "unlogit: opening a\\nb ...\n"
    monkeypatch.setenv("RANK", "1")
    announce("opening")
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "5 seconds"), (90, "1.5 minutes"), (11_520, "3.2 hours"), (1.7e6, "19.7 days")]
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_later_signal_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with interruptible() as interrupted, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        now += progress.SAME_SIGNAL
        os.kill(os.getpid(), signal.SIGINT)
