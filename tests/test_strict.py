"""Broken images as the commands treat them: skipped and counted, or the end of the run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unlogit import cli
from unlogit.classifiers import open_classifier
from unlogit.classifiers.small import SmallConfig, SmallResNet, save_small
from unlogit.methods import GeneratorInverter
from unlogit.methods.biggan.config import GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.representation import Representation

SIZE = 32


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/ with one broken image of 13, ruined/ with seven; a classifier and an inverter of random weights."""
    root: Path = tmp_path_factory.mktemp("place")
    for name, broken in (("photos", 1), ("ruined", 7)):
        for index in range(13):
            file = root / name / ("cat", "dog")[index % 2] / f"{index:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            if index < broken:
                file.write_bytes(b"junk")
            else:
                pixels = np.random.default_rng(index).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
                Image.fromarray(pixels).save(file)
    torch.manual_seed(0)
    save_small(root / "classifier", SmallResNet(SmallConfig(2, SIZE, (8, 8))), ("cat", "dog"), {})
    representation = Representation(open_classifier(f"small:{root / 'classifier'}"))
    generator = Generator(2, GeneratorConfig(size=SIZE, channels=2, noise=16, hidden=4, attention=None))
    GeneratorInverter(representation, generator, {"deviations": []}, "random").save(root / "inverter")
    return root


def command(name: str, place: Path, subfolder: str) -> list[str]:
    images = f"folder:{place}/{subfolder}"
    arguments = {
        "classify": f"--images {images} --test-images {images} --out {place}/fit --num-images 32 --batch 16 "
        "--widths 8 8 --num-attacked-images 2",
        "train": f"--images {images} --held-out {images} --classifier small:{place}/classifier --out {place}/run "
        f"--preset none --cache {place}/cache --num-images 32 --batch 16 --generator.size 32 --generator.channels 4 "
        "--generator.noise 16 --generator.attention None --discriminator.channels 4 --discriminator.attention None",
        "analyse": f"{place}/inverter --images {images} --out {place}/report --only reconstruct",
        "list": f"images {images}",
    }
    return [name, *arguments[name].split()]


@pytest.fixture(autouse=True)
def nothing_before(place: Path) -> None:
    for folder in ("fit", "run", "cache", "report"):
        shutil.rmtree(place / folder, ignore_errors=True)


@pytest.mark.parametrize("name", ["classify", "train", "analyse", "list"])
def test_a_broken_image_is_counted(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(command(name, place, "photos")) == 0
    said = f"unlogit: folder:{place}/photos: 1 image is broken and left out: {place}/photos/cat/00.png: cannot identify"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["classify", "train", "analyse"])
def test_strict_stops_at_it(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command(name, place, "photos"), "--strict"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"unlogit: error: {place}/photos/cat/00.png: cannot identify")
    assert "--strict" in said
    assert not (place / "run" / "inverter").exists() and not (place / "fit" / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["classify", "train", "analyse", "list"])
def test_too_many_stop_it_anyway(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(command(name, place, "ruined")) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"unlogit: error: folder:{place}/ruined: 6 of the first " in said
    assert "over 1%; repair or remove them: " in said and said.count("cannot identify") == 3 and "and 3 more" in said
