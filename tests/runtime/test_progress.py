"""Signals that ask a loop to stop."""

from __future__ import annotations

import os
import signal

import pytest

from unlogit.runtime import progress
from unlogit.runtime.progress import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_a_launcher_passes_on_asks_once(number: signal.Signals) -> None:
    former = signal.getsignal(number)
    with interruptible() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupted()
    assert signal.getsignal(number) == former


def test_a_later_signal_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with interruptible() as interrupted, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        now += progress.SAME_SIGNAL
        os.kill(os.getpid(), signal.SIGINT)
