"""The demo, as small as it goes: every part of it, and the same command again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from unlogit.methods import known

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "recipes" / "demo.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


def test_the_demo_ends_with_a_report_and_resumes(tmp_path: Path) -> None:
    small = (f"--out={tmp_path}", "--num-images=64", "--num-fit-images=640", "--held-out=48", "--asked=24")
    done = run(*small)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(f"report: {tmp_path / 'report.html'}")
    assert "agreement" in done.stdout
    told = {number["inverter"] for number in json.loads((tmp_path / "metrics.json").read_text())}
    scenes = {"robust", "standard", "label only (robust)", "nearest (robust)"}
    assert told == scenes | set(known())
    checkpoint = tmp_path / "robust" / "logits" / "checkpoints" / "000000064.pt"
    written = checkpoint.stat().st_mtime_ns
    again = run(*small, "--task=invert-robust")
    assert again.returncode == 0, again.stderr
    assert checkpoint.stat().st_mtime_ns == written


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    done = run(f"--out={tmp_path}", "--task=report")
    assert done.returncode == 2
    assert done.stderr.startswith("unlogit: error: inverter")
    assert done.stderr.count("\n") == 1
