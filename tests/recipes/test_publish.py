"""Publishing: what is written opens by its name, gives the same, and names no path of the machine it was made on."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from unlogit.classifier_training import FitConfig, fit
from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError
from unlogit.images import View, open_images
from unlogit.methods import open_inverter
from unlogit.methods.biggan import BigGANConfig, DiscriminatorConfig, GeneratorConfig
from unlogit.training import TrainConfig
from unlogit.training.loop import train

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    return importlib.import_module("publish")


def test_the_script_takes_options_and_a_folder_that_is_neither_is_one_line(tmp_path: Path) -> None:
    options = ["--name", "x", "--images", "none", "--recipe", "none"]
    command = [sys.executable, str(ROOT / "recipes" / "publish.py"), str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.startswith("unlogit: error: ")
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "classifier"
    fit(
        FitConfig(
            out=folder,
            images="scenes:count=32",
            test_images="scenes:test,count=16",
            start="timm:resnet10t?pretrained=false",
            num_images=32,
            batch=16,
            size=32,
            num_test_images=16,
            num_attacked_images=4,
        )
    )
    return folder


def test_what_is_published_opens_and_names_no_path(recipe: ModuleType, tmp_path: Path, classifier: Path) -> None:
    words = {"images": "scenes", "recipe": "a recipe"}
    recipe.main(recipe.Publish(classifier, "small_one", **words, into=tmp_path / "classifiers"))
    published = open_classifier(f"fitted:{tmp_path / 'classifiers' / 'small_one'}")
    images = View(32).apply(open_images("scenes:count=8").read(range(8)))
    logits = open_classifier(f"fitted:{classifier}")(images)
    torch.testing.assert_close(published(images), logits, rtol=0, atol=0.02 * float(logits.abs().max()))

    config = TrainConfig(
        images="scenes:count=32",
        held_out="scenes:test,count=16",
        classifier=f"fitted:{classifier}",
        out=classifier.parent / "run",
        method=BigGANConfig(
            generator=GeneratorConfig(size=32, channels=4, noise=16, attention=None),
            discriminator=DiscriminatorConfig(channels=4, attention=None),
        ),
        num_images=16,
        batch=8,
        num_validation_images=8,
        cache=classifier.parent / "cache",
    )
    train(config)
    made = config.out / "inverter"
    recipe.main(recipe.Publish(made, "mine", **words, classifier=published.spec, into=tmp_path / "inverters"))
    ours, theirs = open_inverter(str(tmp_path / "inverters" / "mine")), open_inverter(str(made))
    raw, noise = theirs.representation.raw(images), torch.zeros(8, 16)
    torch.testing.assert_close(ours.invert(raw, noise), theirs.invert(raw, noise), rtol=0, atol=0.05)
    assert ours.name == "mine"

    for file in [*tmp_path.glob("classifiers/*/*"), *tmp_path.glob("inverters/*/*")]:
        assert str(classifier.parent).encode() not in file.read_bytes(), file


def test_what_is_published_names_no_folder_of_this_machine(recipe: ModuleType) -> None:
    without_folders = recipe._without_folders
    assert (
        without_folders("checkpoint:/a/w.pt?arch=timm:x&classes=/b/n.txt")
        == "checkpoint:w.pt?arch=timm:x&classes=n.txt"
    )
    assert without_folders("parquet:/data/train-*.parquet?first=9") == "parquet:train-*.parquet?first=9"
    assert without_folders("packaged:efficientnet_lite0?size=128") == "packaged:efficientnet_lite0?size=128"
    assert without_folders("mine") == "mine"


def test_somebody_else_s_folder_is_left_alone(recipe: ModuleType, tmp_path: Path, classifier: Path) -> None:
    words = {"images": "scenes", "recipe": "a recipe", "into": tmp_path}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    with pytest.raises(UnlogitError, match="unlogit did not write it"):
        recipe.main(recipe.Publish(classifier, "mine", **words))
    assert (tmp_path / "mine" / "config.json").read_text() == "{}"
    for _ in range(2):
        recipe.main(recipe.Publish(classifier, "ours", **words))
