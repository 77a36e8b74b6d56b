"""What a user gives as pixels is checked by errors that `python -O` keeps, each with its likely fix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from unlogit.errors import UnlogitError
from unlogit.images import View, check_pixels, to_bytes

GOOD = torch.rand(2, 3, 4, 4)

WRONG = {
    "uint8": (lambda: (GOOD * 255).byte(), r"expected floating point in \[0, 1\], got torch.uint8; .*/ 255"),
    "255": (lambda: GOOD * 255, r"expected \[0, 1\], got .*; divide by 255"),
    "signed": (lambda: GOOD * 2 - 1, r"map \[-1, 1\] to \[0, 1\] with \(x \+ 1\) / 2"),
    "normalised": (lambda: GOOD * 5 - 2.5, "undo the normalisation"),
    "a little over": (lambda: GOOD + 0.2, r"clamp with x\.clamp\(0, 1\)"),
    "nan": (lambda: GOOD.index_fill(0, torch.tensor([0]), torch.nan), r"non-finite values \(NaN or inf\)"),
    "inf": (lambda: GOOD / 0, r"non-finite values \(NaN or inf\)"),
    "grey": (lambda: GOOD[:, :1], r"expected N x 3 x H x W, got \(2, 1, 4, 4\); .*expand\(-1, 3, -1, -1\)"),
    "alpha": (lambda: torch.rand(2, 4, 5, 5), r"leave out alpha with x\[:, :3\]"),
    "one": (lambda: GOOD[0], r"add the batch dimension with x\[None\]"),
    "last": (lambda: torch.rand(2, 4, 5, 3), r"permute\(0, 3, 1, 2\)"),
    "last, one": (lambda: torch.rand(4, 5, 3), r"permute\(2, 0, 1\)\[None\]"),
    "array": (lambda: np.zeros((2, 3, 4, 4)), r"expected a torch tensor, got ndarray; .*torch\.as_tensor"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_pixels(name: str) -> None:
    make, message = WRONG[name]
    with pytest.raises(UnlogitError, match=f"^mine: .*{message}") as told:
        check_pixels(make(), "mine")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("pixels", [GOOD, GOOD.half(), GOOD.bfloat16(), GOOD - 5e-4, torch.zeros(0, 3, 4, 4)])
def test_good_pixels(pixels: torch.Tensor) -> None:
    assert check_pixels(pixels) is pixels


@pytest.mark.parametrize("image", [torch.rand(3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8)])
def test_views_are_of_bytes(image: torch.Tensor) -> None:
    with pytest.raises(UnlogitError, match="must be uint8, 3 x H x W"):
        View(4).apply([image])


def test_bytes_are_the_nearest_of_256_levels() -> None:
    values = torch.tensor([-1e-3, 0.0, 0.4 / 255, 0.6 / 255, 127.6 / 255, 1.0, 1 + 1e-3])
    before = values.clone()
    assert to_bytes(values).tolist() == [0, 0, 0, 1, 128, 255, 255]
    assert torch.equal(values, before)
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(levels.float() / 255), levels)


def test_checks_stay_without_assertions() -> None:
    code = (
        "import torch\nfrom unlogit.errors import UnlogitError\nfrom unlogit.images import check_pixels\n"
        "x = torch.rand(1, 3, 2, 2)\nassert False, 'gone'\n"
        "for wrong in ((x * 255).byte(), x * 255, x[:, :1], x * torch.nan):\n"
        "    try:\n        check_pixels(wrong)\n    except UnlogitError:\n        print('error')\n"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "PATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, env=environment, check=True)
    assert done.stdout.split() == [b"error"] * 4
