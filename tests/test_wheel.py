"""The wheel holds everything and runs in a fresh environment. Nothing is downloaded: the environment borrows this
one's dependencies, and the wheel is built by the build backend that is installed here."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from unlogit import __version__

ROOT = Path(__file__).parents[1]
MAX_BYTES = 55_000_000
"""docs/index.md states the size."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([sys.executable, *command, "--wheel-dir", str(out), str(ROOT)], check=True, timeout=300)
    return next(out.glob("*.whl"))


def test_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    source = ROOT / "src"
    files = {
        str(file.relative_to(source))
        for file in (source / "unlogit").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert files - packed == set()
    for needed in (
        "weights/lite0_robust/model.safetensors",
        "photos/coffee.jpg",
        "web/explorer/assets/explore.css",
        "web/study/assets/study.js",
    ):
        assert f"unlogit/{needed}" in packed


def test_wheel_has_the_size_that_the_documentation_states(wheel: Path) -> None:
    size = wheel.stat().st_size
    assert size < MAX_BYTES
    assert f"The wheel has {size / 1e6:.0f} MB" in (ROOT / "docs" / "index.md").read_text()


def test_wheel_runs_the_first_command_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=300)
    binaries = environment / "bin"
    install = [sys.executable, "-m", "pip", "--python", str(binaries / "python"), "install"]
    subprocess.run([*install, "--quiet", "--no-deps", "--no-index", str(wheel)], check=True, timeout=300)
    installed = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    # Behind the environment's own packages, and without the .pth files that lead to the checkout.
    (installed / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def unlogit(*arguments: str) -> str:
        ran = subprocess.run(
            [str(binaries / "unlogit"), *arguments],
            cwd=tmp_path,
            env=clean,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    where = [str(binaries / "python"), "-c", "import unlogit; print(unlogit.__file__)"]
    imported = subprocess.run(where, cwd=tmp_path, env=clean, capture_output=True, text=True, check=True).stdout
    assert Path(imported.strip()).is_relative_to(environment)
    assert __version__ in unlogit("--version")
    assert "reconstruct" in unlogit("--help")
    assert "grid.png" in unlogit("reconstruct", "--example", "--inverter", "lite0_robust")
    assert (tmp_path / "reconstructions" / "grid.png").is_file()
