"""What an interrupted command says, and its exit code."""

from __future__ import annotations

import os
import signal

import pytest

from unlogit import cli


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(_args: object) -> None:
        raise KeyboardInterrupt("stopped at 64 images;\nthe same command goes on")

    monkeypatch.setitem(cli.COMMANDS, "train", stop)
    assert cli.main(["train"]) == 130
    assert capsys.readouterr().err == "unlogit: stopped at 64 images; the same command goes on\n"


def test_a_command_without_checkpoints_does_not_promise_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_args: object) -> None:
        raise KeyboardInterrupt

    for command in cli.COMMANDS:
        monkeypatch.setitem(cli.COMMANDS, command, stop)
        assert cli.main([command]) == 130
        resumes = "the same command resumes" in capsys.readouterr().err
        assert resumes == (command in ("train", "classify")), command


@pytest.mark.parametrize("error", [None, ImportError("half an import")])
def test_terminated_while_starting_is_one_line(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(_args: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            if error is None:
                raise
        raise error or AssertionError("still running")

    monkeypatch.setitem(cli.COMMANDS, "train", start)
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main(["train"]) == 130
    assert (
        capsys.readouterr().err
        == "unlogit: interrupted; the same command resumes from the last checkpoint, if there is one\n"
    )
    assert signal.getsignal(signal.SIGTERM) == before
