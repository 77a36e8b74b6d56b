"""An inverter's classifier opens from any working directory, travels in its folder, and runs no stranger's code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError
from unlogit.methods import GeneratorInverter, open_inverter
from unlogit.methods.biggan.config import GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.representation import Representation


def save(spec: str, folder: Path, layer: str = "logits") -> GeneratorInverter:
    representation = Representation(open_classifier(spec), layer).fit([torch.rand(16, 3, 32, 32)])
    generator = Generator(representation.dim, GeneratorConfig(32, channels=4, noise=8, attention=None))
    inverter = GeneratorInverter(representation, generator, {"deviations": []})
    inverter.save(folder)
    return inverter


@pytest.mark.parametrize("layer", ["logits", "stages.1?reduce=flatten", "stages.2?reduce=max"])
def test_it_opens_from_another_directory_than_it_was_made_in(
    layer: str, tiny_classifier_spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(tiny_classifier_spec.partition(":")[2])
    monkeypatch.chdir(folder.parent)
    made = save(f"small:{folder.name}", tmp_path / "inverter", layer)
    monkeypatch.chdir(tmp_path)
    again = open_inverter("inverter")
    assert again.representation.layer == layer
    assert again.representation.classifier.spec == f"small:{folder}"
    images, noise = torch.rand(2, 3, 32, 32), made.sample_noise(2)
    assert torch.equal(again.reconstruct(images, noise), made.reconstruct(images, noise))


def test_it_travels_with_its_classifier(tiny_classifier_spec: str, tmp_path: Path) -> None:
    save(tiny_classifier_spec, tmp_path / "here")
    shutil.copytree(tiny_classifier_spec.partition(":")[2], tmp_path / "here" / "classifier")
    config = json.loads((tmp_path / "here" / "config.json").read_text())
    config["classifier"] = "small:{folder}/classifier"
    (tmp_path / "here" / "config.json").write_text(json.dumps(config))
    (tmp_path / "here").rename(tmp_path / "there")
    inverter = open_inverter(str(tmp_path / "there"))
    assert inverter.representation.classifier.spec == f"small:{tmp_path / 'there' / 'classifier'}"


def test_one_from_the_hub_runs_no_code_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"format": 1, "classifier": "python:{folder}/net.py:make", "layer": "logits"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "net.py").write_text("raise SystemExit('was run')")
    monkeypatch.setattr("unlogit.methods._trained.snapshot_download", lambda *_args, **_options: str(tmp_path))
    with pytest.raises(UnlogitError, match="runs code of its own"):
        GeneratorInverter._from_pretrained(model_id="nobody/nothing")
