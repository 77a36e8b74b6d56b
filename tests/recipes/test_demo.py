"""The demo, as small as it goes: every part of it, its log, and the same command again."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

ROOT = Path(__file__).parents[2]
ASKED = ("reconstruct", "quality", "training", "probe", "noise")
"""Analyses of the small demo: the compared ones and two others, since all have tests of their own."""


@pytest.fixture
def demo(quick_fits: None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    import demo as recipe

    monkeypatch.setattr(recipe.analyses, "names", lambda: ASKED)
    monkeypatch.setattr(recipe, "known", lambda: ["lite0_robust"])
    monkeypatch.setattr(recipe, "NearestNeighbour", partial(recipe.NearestNeighbour, limit=200))
    return recipe


def test_the_demo_ends_with_a_report_and_resumes(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    small = demo.Demo(tmp_path, num_images=64, num_fit_images=64, held_out=48, asked=24)
    in_processes = demo.side_by_side

    def side_by_side(given: Any, parts: tuple[tuple[str, ...], ...]) -> None:
        if parts != demo.PHASES[1]:  # One phase is enough to see two processes write into one file.
            for tasks in parts:
                demo.main(demo.replace(given, task=tasks))
            return
        capfd.readouterr()
        in_processes(given, parts)
        log = capfd.readouterr()
        assert "\r" not in log.err + log.out and "\x1b" not in log.err + log.out
        for kind in demo.KINDS:
            assert f"{kind}/logits: 64.0 of 64.0 images in " in log.err
            assert f"{kind}/logits: 64 images: agreement " in log.out
        names = ("robust/logits: ", "standard/logits: ", "unlogit: ")  # The last of what is opened before training.
        assert all(line.startswith(names) for line in log.err.splitlines()), log.err

    monkeypatch.setattr(demo, "side_by_side", side_by_side)
    demo.main(small)
    printed = capfd.readouterr().out
    assert printed.rstrip().endswith(f"report: {tmp_path / 'report.html'}")
    assert "agreement" in printed
    records = json.loads((tmp_path / "metrics.json").read_text())
    scenes = {"robust", "standard", "label only (robust)", "nearest (robust)"}
    assert {record["inverter"] for record in records} == scenes | {"lite0_robust"}
    assert {record["analysis"] for record in records} == set(ASKED) - {"reconstruct", "training"}
    checkpoint = tmp_path / "robust" / "logits" / "checkpoints" / "000000064.pt"
    written = checkpoint.stat().st_mtime_ns
    demo.main(demo.replace(small, task=("invert-robust",)))
    assert checkpoint.stat().st_mtime_ns == written


def test_each_task_is_done_once(demo: ModuleType) -> None:
    done = [task for parts in demo.PHASES for tasks in parts for task in tasks]
    assert sorted(done) == sorted(get_args(demo.Task))


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "recipes" / "demo.py"), f"--out={tmp_path}", "--task", "report"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 2
    assert done.stderr.startswith("unlogit: error: inverter")
    assert done.stderr.count("\n") == 1
