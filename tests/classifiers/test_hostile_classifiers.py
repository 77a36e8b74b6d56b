"""Folders of classifiers that are damaged, or made to harm: one line each, before anything is allocated."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unlogit.classifier_training import FitConfig, fit
from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError
from unlogit.saved import CONFIG, WEIGHTS
from unlogit.training import TrainConfig, train

BOTH = ("small", "fitted")


def copy(source: str, spec_of: Callable[[str], str], to: Path) -> Path:
    return shutil.copytree(spec_of(source).partition(":")[2], to / source)


def edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / CONFIG).read_text()) | changes
    (folder / CONFIG).write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def refuse(source: str, folder: Path, match: str) -> None:
    started = time.monotonic()
    with pytest.raises(UnlogitError, match=match) as error:
        open_classifier(f"{source}:{folder}")
    line = str(error.value)
    assert time.monotonic() - started < 10 and "\n" not in line and len(line) < 900, line
    assert str(folder) in line


SHARED: dict[str, tuple[dict[str, object], str]] = {
    "an unknown key": ({"note": 1}, "unknown key of config.json .* 'note'"),
    "no names": ({"class_names": []}, "class_names is empty"),
    "a missing key": ({"class_names": ...}, "key 'class_names' is missing"),
    "names that are none": ({"class_names": [1, 2]}, "class_names"),
    "too many names": ({"class_names": ["a"] * 1_000_000}, "1000000 class_names, must be"),
    "names in a line": ({"class_names": "abc"}, "'class_names' expected a list, got str"),
    "two means": ({"mean": [0.5, 0.5]}, "must be three finite numbers"),
    "no spread": ({"std": [0.5, 0, 0.5]}, "must be three finite numbers above 0"),
    "a mean that is none": ({"mean": [0.5, float("nan"), 0.5]}, "must be three finite numbers"),
    "a mean in words": ({"mean": "half"}, "'mean' expected a list, got str"),
    "a fit that is none": ({"fit": 3}, "'fit' expected a dict, got int"),
}


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("source", BOTH)
def test_a_wrong_key_is_one_line(source: str, name: str, spec_of: Callable[[str], str], tmp_path: Path) -> None:
    changes, match = SHARED[name]
    folder = copy(source, spec_of, tmp_path)
    edit(folder, **changes)
    refuse(source, folder, match)


@pytest.mark.parametrize(
    ("source", "changes", "match"),
    [
        ("fitted", {"architecture": ...}, "key 'architecture' is missing"),
        ("fitted", {"architecture": 3}, "'architecture' expected str, got int"),
        ("fitted", {"size": 10**9}, "size 1000000000: must be 1 to 1024 pixels, or null"),
        ("fitted", {"size": "64"}, "'size'"),
        ("fitted", {"penultimate": "nothing"}, "has no layer 'nothing'"),
        ("fitted", {"interpolation": "nearest"}, "'interpolation' expected one of"),
        ("small", {"network": [1]}, "'network' expected a dict, got list"),
        ("small", {"network": {"classes": 10}}, "cannot be read: its weights do not fit its config.json"),
        ("small", {"network": {"classes": 10**12}}, "classes 1000000000000: must be at most 1,000,000"),
        ("small", {"network": {"classes": 10, "widths": [10**30]}}, "must be at most 65,536"),
        ("small", {"network": {"classes": 10, "widths": []}}, "widths: must be one or more"),
        ("small", {"network": {"classes": 10, "blocks": 10**9}}, "blocks 1000000000: must be at most 64"),
        ("small", {"network": {"classes": 10, "size": 2**40}}, "must be at most 65,536"),
        ("small", {"network": {"classes": 10, "depth": 3}}, "unknown key of 'network' in config.json .* 'depth'"),
    ],
)
def test_a_wrong_key_of_one_source_is_one_line(
    source: str, changes: dict[str, object], match: str, spec_of: Callable[[str], str], tmp_path: Path
) -> None:
    folder = copy(source, spec_of, tmp_path)
    if source == "small":
        changes = changes | {"class_names": [str(i) for i in range(10)]}
    edit(folder, **changes)
    refuse(source, folder, match)


@pytest.mark.parametrize("content", [b"", b'{"mean": [', b"\xff\xfe\x00", b"[" * 100_000, b"[]"])
@pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("source", BOTH)
def test_a_file_with_other_content_is_one_line(
    source: str, file: str, content: bytes, spec_of: Callable[[str], str], tmp_path: Path
) -> None:
    folder = copy(source, spec_of, tmp_path)
    (folder / file).write_bytes(content)
    refuse(source, folder, f"{file}")


@pytest.mark.parametrize("source", BOTH)
def test_half_precision_is_read_as_float32(source: str, spec_of: Callable[[str], str], tmp_path: Path) -> None:
    folder, sound = copy(source, spec_of, tmp_path), open_classifier(spec_of(source))
    tensors = load_file(folder / WEIGHTS)
    save_file({k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}, folder / WEIGHTS)
    again, image = open_classifier(f"{source}:{folder}"), torch.rand(2, 3, 64, 64)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    torch.testing.assert_close(again(image), sound(image), rtol=0.02, atol=0.02)


def test_half_precision_of_transformers_is_read_as_float32(spec_of: Callable[[str], str], tmp_path: Path) -> None:
    from transformers import ViTForImageClassification

    spec = spec_of("transformers")
    folder = shutil.copytree(spec.partition(":")[2], tmp_path / "vit")
    ViTForImageClassification.from_pretrained(folder).half().save_pretrained(folder)
    again, image = open_classifier(f"transformers:{folder}"), torch.rand(2, 3, 64, 64)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    torch.testing.assert_close(again(image), open_classifier(spec)(image), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("source", BOTH)
def test_a_flipped_bit_is_one_line(source: str, spec_of: Callable[[str], str], tmp_path: Path) -> None:
    folder = copy(source, spec_of, tmp_path)
    whole = bytearray((folder / WEIGHTS).read_bytes())
    whole[len(whole) - 1001] ^= 4
    (folder / WEIGHTS).write_bytes(whole)
    refuse(source, folder, f"the checksum of {WEIGHTS} does not match")


@pytest.mark.parametrize("content", ["", '{"images": ', "[1, 2]", '"'])
def test_a_damaged_config_of_a_run_is_one_line(content: str, tiny_classifier_spec: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CONFIG).write_text(content)
    config = TrainConfig("scenes:count=8", "scenes:count=8", tiny_classifier_spec, tmp_path / "run")
    with pytest.raises(UnlogitError, match="run '.*config.json") as error:
        train(config)
    assert "\n" not in str(error.value)
    with pytest.raises(UnlogitError, match="holds another training"):
        fit(FitConfig(tmp_path / "run", "scenes:count=8", "scenes:count=8"))
