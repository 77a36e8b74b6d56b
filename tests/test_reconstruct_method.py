"""`unlogit reconstruct` with a method that needs no training, and `unlogit list methods`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unlogit import cli
from unlogit.reconstruct import ReconstructConfig


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{name}.png" for name in ("a", "b")]
    for seed, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8)).save(path)
    return [str(path) for path in paths]


def test_a_method_reconstructs_photos(photos: list[str], tiny_classifier_spec: str, tmp_path: Path) -> None:
    method = ["--method", "engstrom", "--classifier", tiny_classifier_spec, "--options", "size=32&steps=2"]
    for out in ("one", "two"):
        assert cli.main(["reconstruct", *photos, "--out", str(tmp_path / out), *method]) == 0
    first, again = (np.asarray(Image.open(tmp_path / out / "b.png")) for out in ("one", "two"))
    assert first.shape == (32, 32, 3)
    assert np.array_equal(first, again)
    assert (tmp_path / "one" / "grid.png").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "engstrom"], "--method and --classifier belong together"),
        (["--options", "steps=2"], "--options needs a method"),
        (["--method", "engstrm", "--classifier", "C"], "or a method (engstrom:CLASSIFIER, mahendran"),
        (["--method", "engstrom", "--classifier", "C", "--options", "steps 2"], "must be option=value, joined by &"),
    ],
)
def test_mistakes_are_one_line(
    photos: list[str], options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["reconstruct", *photos, "--out", str(tmp_path / "out"), *options]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_a_classifier_with_options_stands_in_brackets(photos: list[str]) -> None:
    config = ReconstructConfig(
        (Path(photos[0]),), method="engstrom", classifier="timm:a?size=64", options="layer=b&steps=2"
    )
    assert config.opened == {"engstrom": "engstrom:[timm:a?size=64]?layer=b&steps=2"}


def test_methods_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "methods"]) == 0
    told = capsys.readouterr().out
    for name in ("biggan", "decoder", "flow", "engstrom", "mahendran", "nearest"):
        assert f"  {name} " in told
