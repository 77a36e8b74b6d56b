"""Saved inverters and classifiers that are damaged, or made to harm: one line each, before anything is allocated."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from unlogit.classifiers import open_classifier
from unlogit.cli import main
from unlogit.errors import UnlogitError
from unlogit.methods import DecoderInverter, FlowInverter, GeneratorInverter, LearnedInverter, open_inverter
from unlogit.methods.biggan.config import GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.methods.decoder.config import DecoderConfig
from unlogit.methods.decoder.networks import Decoder
from unlogit.methods.flow.config import VelocityConfig
from unlogit.methods.flow.network import Velocity
from unlogit.representation import Representation
from unlogit.representation.layers import LIMIT
from unlogit.saved import CONFIG, WEIGHTS

SECONDS = 10
"""In which a stranger's folder must be refused."""
KINDS = ("generator", "decoder", "flow")


def make(kind: str, spec: str) -> LearnedInverter:
    representation = Representation(open_classifier(spec)).fit([torch.rand(16, 3, 32, 32)])
    facts = {"deviations": ["warm start"], "images_seen": 3, "hours": 0.1, "validation": {"pixel_error": 0.5}}
    if kind == "decoder":
        decoder = Decoder(representation.dim, 32, DecoderConfig(channels=2, hidden=4))
        return DecoderInverter(representation, decoder, facts)
    if kind == "flow":
        return FlowInverter(representation, Velocity(representation.dim, 32, VelocityConfig(8, 4)), facts, steps=1)
    config = GeneratorConfig(32, channels=2, noise=4, hidden=2, attention=None, spectral_norm=False)
    return GeneratorInverter(representation, Generator(representation.dim, config), facts)


@pytest.fixture(scope="module")
def originals(tiny_classifier_spec: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sound folder of each kind."""
    root = tmp_path_factory.mktemp("sound")
    for kind in KINDS:
        torch.manual_seed(0)
        make(kind, tiny_classifier_spec).save(root / kind)
    return {kind: root / kind for kind in KINDS}


@pytest.fixture
def folder(originals: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a generator, to be damaged."""
    return shutil.copytree(originals["generator"], tmp_path / "inverter")


def refuse(folder: Path, match: str = "") -> str:
    """That the folder is refused in one short line, soon; returns the line."""
    started = time.monotonic()
    with pytest.raises(UnlogitError, match=match) as error:
        open_inverter(str(folder))
    assert time.monotonic() - started < SECONDS
    line = str(error.value)
    assert "\n" not in line and len(line) < 900, line
    return line


def edit(folder: Path, **changes: object) -> None:
    """Change keys of config.json; "generator.channels" as generator__channels; ... leaves one out."""
    config = json.loads((folder / CONFIG).read_text())
    for name, value in changes.items():
        *outer, key = name.split("__")
        part = config[outer[0]] if outer else config
        part.pop(key, None)
        if value is not ...:
            part[key] = value
    (folder / CONFIG).write_text(json.dumps(config))


def change(folder: Path, name: str, to: Callable[[Tensor], Tensor | None]) -> None:
    """Change a tensor, or leave it out."""
    tensors = load_file(folder / WEIGHTS)
    changed = to(tensors.pop(name, torch.zeros(1)))
    save_file(tensors | ({} if changed is None else {name: changed.contiguous()}), folder / WEIGHTS)


# config.json


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_folder_opens_as_it_was(kind: str, originals: dict[str, Path]) -> None:
    state = torch.get_rng_state()
    again = open_inverter(str(originals[kind]))
    assert torch.equal(torch.get_rng_state(), state)
    image = torch.rand(2, 3, 32, 32)
    assert isinstance(again, LearnedInverter) and again.KIND == kind
    assert again.reconstruct(image, again.sample_noise(2)).shape == (2, 3, 32, 32)
    assert not any(tensor.is_meta for tensor in (*again.parameters(), *again.buffers()))


CONTENTS = {
    "empty": b"",
    "cut": b'{"format": 1, "kind": "gener',
    "garbage": bytes(range(256)),
    "another encoding": '{"format": 1}'.encode("utf-16"),
    "deep": b"[" * 200_000,
    "a list": b"[1]",
    "a number": b"1",
    "null": b"null",
    "no format": b"{}",
    "a long number": b'{"format": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
def test_a_file_with_other_content_is_one_line(file: str, content: str, folder: Path) -> None:
    (folder / file).write_bytes(CONTENTS[content])
    refuse(folder, "inverter '")


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
def test_what_is_no_file_is_one_line(file: str, folder: Path) -> None:
    path = folder / file
    path.unlink()
    refuse(folder, f"{file} is missing")
    os.mkfifo(path)
    refuse(folder, f"{file} is no file")
    path.unlink()
    path.symlink_to("/dev/zero")
    refuse(folder, f"{file} is no file")
    path.unlink()
    path.mkdir()
    refuse(folder, f"{file} is no file")


def test_a_huge_config_is_not_read(folder: Path) -> None:
    with (folder / CONFIG).open("ab") as file:
        file.truncate(10**11)  # Sparse.
    refuse(folder, "takes 100,000,000,000 bytes, must be at most 16,000,000")


CHANGES: dict[str, tuple[dict[str, object], str]] = {
    "a missing key": ({"layer": ...}, "key 'layer' is missing"),
    "no network": ({"generator": ...}, "key 'generator' is missing"),
    "no facts": ({"facts": ...}, "key 'facts' is missing"),
    "no deviations": ({"facts__deviations": ...}, "key 'deviations' is missing"),
    "an unknown key": ({"layers": "logits"}, "unknown key of config.json .* 'layers'.* Did you mean 'layer'"),
    "a name that is none": ({"name": 3}, "'name' expected str, got int"),
    "a classifier that is none": ({"classifier": ["small:x"]}, "'classifier' expected str, got list"),
    "an unknown classifier": ({"classifier": "smal:x"}, "unknown classifier prefix 'smal'"),
    "a layer that is not there": ({"layer": "nothing"}, "unknown layer 'nothing'"),
    "a layer of another length": ({"layer": "penultimate"}, "belongs to another classifier or layer"),
    "another format": ({"format": 2}, "format 2, this version reads 1"),
    "a kind that is none": ({"kind": 3}, "unknown kind of inverter"),
    "an unknown kind": ({"kind": "generators"}, "unknown kind of inverter .* 'generators'"),
    "a kind without folders": ({"kind": "nearest"}, "unknown kind of inverter"),
    "another kind": ({"kind": "decoder"}, "unknown key of config.json .* 'generator'"),
    "deviations that are none": ({"facts__deviations": "none"}, "'deviations' expected a list, got str"),
    "a deviation that is none": ({"facts__deviations": [1]}, "deviations"),
    "images in words": ({"facts__pictures_seen": "many"}, "'images_seen' expected int, got str"),
    "figures in words": ({"facts__validation": {"a": "b"}}, "validation"),
    "a network that is none": ({"generator": [1]}, "'generator' expected a dict, got list"),
    "an unknown part": ({"generator__depth": 3}, "unknown key of 'generator' in config.json .* 'depth'"),
    "a size in words": ({"generator__size": "32"}, "'size' expected int, got str"),
    "an unknown size": ({"generator__size": 48}, "image size 48: must be one of 32, 64, 128"),
    "a million channels": ({"generator__channels": 1_000_000}, "channels 1000000: must be at most 4,096"),
    "a float million channels": ({"generator__channels": 1e6}, "'channels' expected int, got float"),
    "more channels than numbers": ({"generator__channels": 10**30}, "must be at most 4,096"),
    "more channels than bytes": ({"generator__channels": 10**12}, "must be at most 4,096"),
    "no channels": ({"generator__channels": 0}, "generator.channels 0: must be at least 1"),
    "negative channels": ({"generator__channels": -1}, "generator.channels -1: must be at least 1"),
    "true channels": ({"generator__channels": True}, "'channels' expected int, got bool"),
    "no noise": ({"generator__noise": 0}, "generator.noise 0: must be at least 1"),
    "a wide embedding": ({"generator__embedding": 10**9}, "must be at most 65,536"),
    "spectral norms": ({"generator__spectral_norm": True}, "weights do not fit its config.json"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_key_is_one_line(name: str, folder: Path) -> None:
    changes, match = CHANGES[name]
    edit(folder, **changes)
    refuse(folder, match)


@pytest.mark.parametrize(
    ("kind", "changes", "match"),
    [
        ("decoder", {"decoder__layers": 10**9}, "decoder.layers 1000000000: must be at most 64"),
        ("decoder", {"decoder__hidden": 10**9}, "must be at most 65,536"),
        ("decoder", {"decoder__size": "32"}, "image size 32: must be one of"),
        ("decoder", {"decoder__size": ...}, "image size 0: must be one of"),
        ("flow", {"flow__steps": 10**12}, "flow steps 1000000000000: must be 1 to 1,000"),
        ("flow", {"flow__steps": 0}, "flow steps 0: must be 1 to 1,000"),
        ("flow", {"flow__steps": ...}, "key 'steps' is missing"),
        ("flow", {"flow__channels": 12}, "velocity.channels 12: must be a multiple of 8"),
        ("flow", {"flow__condition": 10**9}, "must be at most 65,536"),
    ],
)
def test_a_wrong_shape_of_another_kind_is_one_line(
    kind: str, changes: dict[str, object], match: str, originals: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(originals[kind], tmp_path / "inverter")
    edit(folder, **changes)
    refuse(folder, match)


# model.safetensors


def test_cut_weights_are_one_line(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    for size in (0, 1, 8, 100, len(whole) // 2, len(whole) - 1):
        (folder / WEIGHTS).write_bytes(whole[:size])
        refuse(folder, "model.safetensors cannot be read")


def test_weights_of_another_shape_or_name_are_one_line(folder: Path, originals: dict[str, Path]) -> None:
    name = "generator.last.weight"
    for to, match in (
        (lambda _: None, f"tensor '{name}' is missing"),
        (lambda value: value[:1], f"tensor '{name}' is F32 of shape"),
        (lambda value: value.to(torch.int32), f"tensor '{name}' is I32 of shape"),
        (lambda value: value.bool(), f"tensor '{name}' is BOOL of shape"),
        (lambda value: value.to(torch.int8), f"tensor '{name}' is I8 of shape"),
    ):
        change(folder, name, to)
        refuse(folder, match)
        shutil.copy(originals["generator"] / WEIGHTS, folder)
    change(folder, "generator.more", lambda _: torch.zeros(3))
    refuse(folder, "no layer has a tensor 'generator.more'")


def test_constants_that_do_not_fit_are_one_line(folder: Path, originals: dict[str, Path]) -> None:
    long = torch.ones(LIMIT + 1)
    for name, to, match in (
        ("shift", lambda _: None, "its 'shift' has 0 values"),
        ("shift", lambda _: long, "its 'shift' has 65537 values, must be 1 to 65,536"),
        ("shift", lambda value: value.fill_(torch.nan), "must be finite"),
        ("scale", lambda _: None, "tensor 'scale' is missing"),
        ("scale", lambda value: value[:1], "tensor 'scale' is F32 of shape"),
        ("scale", lambda value: value.fill_(0), "'scale' positive"),
        ("scale", lambda value: value.fill_(torch.inf), "must be finite"),
    ):
        change(folder, name, to)
        refuse(folder, match)
        shutil.copy(originals["generator"] / WEIGHTS, folder)


def test_a_scale_that_would_spread_a_tensor_is_refused(folder: Path, originals: dict[str, Path]) -> None:
    """It asked for 160 GB, of a file of 1 MB."""
    tensors = load_file(folder / WEIGHTS)
    tensors["generator.last.weight"] = torch.ones(1, 100_000, dtype=torch.int8)
    tensors["generator.last.weight.row_scale"] = torch.ones(400_000)
    save_file(tensors, folder / WEIGHTS)
    refuse(folder, r"is I8 of shape \(1, 100000\), and its scale F32 of \(400000,\): must be I8 with a float per row")
    shutil.copy(originals["generator"] / WEIGHTS, folder)
    change(folder, "nothing.row_scale", lambda _: torch.ones(3))
    refuse(folder, "'nothing.row_scale' scales a tensor that is missing")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_as_float32(dtype: torch.dtype, folder: Path) -> None:
    before = open_inverter(str(folder))
    save_file({name: value.to(dtype) for name, value in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS)
    after = open_inverter(str(folder))
    assert all(
        tensor.dtype == torch.float32
        for tensor in (*after.parameters(), *after.buffers())
        if tensor.is_floating_point()
    )
    image, noise = torch.rand(2, 3, 32, 32), before.sample_noise(2)
    difference = (after.reconstruct(image, noise) - before.reconstruct(image, noise)).abs().max()
    assert difference < (0.02 if dtype == torch.bfloat16 else 0.003)


@pytest.mark.parametrize("bits", [None, 8])
def test_damaged_weights_never_open_as_others(bits: int | None, originals: dict[str, Path], tmp_path: Path) -> None:
    sound = open_inverter(str(originals["generator"]))
    assert isinstance(sound, LearnedInverter)
    sound.save(tmp_path / "inverter", bits)
    sound = open_inverter(str(tmp_path / "inverter"))
    path, rng = tmp_path / "inverter" / WEIGHTS, random.Random(0)
    whole = path.read_bytes()
    refused = 0
    for number in range(60):
        damaged = bytearray(whole)
        place = rng.randrange(len(whole))
        if number % 4:
            damaged[place] ^= 1 << rng.randrange(8)
        else:
            damaged[place : place + 4096] = bytes(len(damaged[place : place + 4096]))
        path.write_bytes(damaged)
        try:
            opened = open_inverter(str(path.parent))
        except UnlogitError as error:
            assert "\n" not in str(error)
            refused += 1
            continue
        # A flip in the note of the checksum itself.
        assert all(
            torch.equal(a, b) for a, b in zip(sound.state_dict().values(), opened.state_dict().values(), strict=True)
        )
    assert refused > 50


# Anything

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def keys_of(config: dict[str, Any]) -> list[tuple[str, ...]]:
    inner = [(key, name) for key, value in config.items() if isinstance(value, dict) for name in value]
    return [(key,) for key in config] + inner


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_other_value_of_any_key_opens_or_is_one_line(data: st.DataObject, folder: Path) -> None:
    path = folder / CONFIG
    sound = path.read_text()
    config = json.loads(sound)
    *outer, key = data.draw(st.sampled_from(keys_of(config)))
    (config[outer[0]] if outer else config)[key] = data.draw(JSON)
    path.write_text(json.dumps(config))
    try:
        started = time.monotonic()
        open_inverter(str(folder))
    except UnlogitError as error:
        assert "\n" not in str(error) and len(str(error)) < 900
    finally:
        path.write_text(sound)
    assert time.monotonic() - started < SECONDS


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), bytes_=st.binary(min_size=1, max_size=12))
def test_any_other_bytes_open_or_are_one_line(place: int, bytes_: bytes, folder: Path) -> None:
    path = folder / (CONFIG if place % 2 else WEIGHTS)
    sound = path.read_bytes()
    # Half of the places in the first kilobytes, where the header is.
    at = place % (len(sound) if place % 4 < 2 else min(len(sound), 3_000))
    path.write_bytes(sound[:at] + bytes_ + sound[at + len(bytes_) :])
    try:
        open_inverter(str(folder))
    except UnlogitError as error:
        assert "\n" not in str(error)
    finally:
        path.write_bytes(sound)


def test_the_command_line_says_so(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / CONFIG).write_bytes(b"")
    photo = Path(__file__).parents[2] / "src" / "unlogit" / "photos" / "cat.jpg"
    assert main(["reconstruct", str(photo), "--inverter", str(folder), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "is damaged: config.json cannot be read" in error
