"""`unlogit invert`: reconstructions of representations in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unlogit.classifiers import open_classifier
from unlogit.classifiers.small import SmallConfig, SmallResNet, save_small
from unlogit.cli import main
from unlogit.errors import UnlogitError
from unlogit.invert import InvertConfig, invert, read
from unlogit.methods import open_inverter
from unlogit.methods.biggan.config import GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.methods.biggan.inverter import GeneratorInverter
from unlogit.representation import Representation


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    names = tuple(f"class {k}" for k in range(10))
    save_small(folder / "classifier", SmallResNet(SmallConfig(10, 32, (8, 8, 8))), names, {})
    representation = Representation(open_classifier(f"small:{folder / 'classifier'}"))
    generator = Generator(10, GeneratorConfig(size=32, channels=2, noise=16, hidden=4, attention=None))
    GeneratorInverter(representation, generator, {"deviations": []}, "random").save(folder / "inverter")
    return folder / "inverter"


@pytest.mark.parametrize("suffix", ["npy", "csv"])
def test_every_row_is_written_as_python_returns_it(
    saved: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logits = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
    file = tmp_path / f"logits.{suffix}"
    if suffix == "npy":
        np.save(file, logits)
    else:
        np.savetxt(file, logits, delimiter=",")
    out = tmp_path / "out"
    assert (
        main(["invert", str(file), "--inverter", str(saved), "--out", str(out), "--seed", "2", "--device", "cpu"]) == 0
    )
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png", "2.png", "grid.png"]
    printed = capsys.readouterr().out
    assert printed.count(".png: class ") == 3
    assert "Likeliest class by the given logits -> " in printed
    expected = open_inverter(str(saved)).invert(torch.from_numpy(logits), seed=2)
    written = np.asarray(Image.open(out / "1.png"))
    assert np.abs(written / 255 - expected[1].permute(1, 2, 0).numpy()).max() <= 0.6 / 255


WRONG: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("gone.npy", lambda path: None, "no such file"),
    "another suffix": ("a.txt", lambda path: path.write_text("1,2"), "must be a .npy array"),
    "truncated": ("a.npy", lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"), "cannot be read"),
    "pickled": ("a.npy", lambda path: np.save(path, np.array([{}], object), allow_pickle=True), "cannot be read"),
    "words": ("a.csv", lambda path: path.write_text("one,two\n"), "cannot be read"),
    "one vector": ("a.npy", lambda path: np.save(path, np.zeros(10)), r"shape \(10,\).*save values\[None\]"),
    "nothing": ("a.npy", lambda path: np.save(path, np.zeros((0, 10))), r"shape \(0, 10\)"),
    "complex": ("a.npy", lambda path: np.save(path, np.zeros((1, 10), complex)), "complex128"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_table_of_numbers_is_one_line(tmp_path: Path, case: str) -> None:
    name, write, message = WRONG[case]
    write(tmp_path / name)
    with pytest.raises(UnlogitError, match=message) as error:
        read(tmp_path / name)
    assert "\n" not in str(error.value)


def test_another_number_of_columns_and_other_files_are_refused(saved: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((2, 11)))
    with pytest.raises(UnlogitError, match="this inverter reads N x 10"):
        invert(InvertConfig(tmp_path / "wide.npy", tmp_path / "out", str(saved)))
    np.save(tmp_path / "nan.npy", np.full((2, 10), np.nan))
    with pytest.raises(UnlogitError, match="non-finite"):
        invert(InvertConfig(tmp_path / "nan.npy", tmp_path / "out", str(saved)))
    np.save(tmp_path / "softmax.npy", np.full((2, 10), 0.1))
    with pytest.raises(UnlogitError, match="holds probabilities: give the logits"):
        invert(InvertConfig(tmp_path / "softmax.npy", tmp_path / "out", str(saved)))
    np.save(tmp_path / "good.npy", np.zeros((2, 10)))
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "1.png").write_bytes(b"mine")
    with pytest.raises(UnlogitError, match=r"1\.png' exists and unlogit did not write it"):
        invert(InvertConfig(tmp_path / "good.npy", tmp_path / "out", str(saved)))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.png"]
