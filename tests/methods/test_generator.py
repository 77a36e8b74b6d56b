"""The generator inverter: saved and opened again whole; damage and misuse told in one line."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError
from unlogit.methods import GeneratorInverter, open_inverter
from unlogit.methods._packing import halved, packed, unpacked
from unlogit.methods.biggan.config import GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.representation import Representation


@pytest.fixture
def inverter(tiny_classifier_spec: str) -> GeneratorInverter:
    """An inverter whose classifier can be opened again."""
    representation = Representation(open_classifier(tiny_classifier_spec))
    representation.fit([torch.rand(32, 3, 32, 32)])
    torch.manual_seed(0)
    generator = Generator(
        representation.dim, GeneratorConfig(32, channels=4, noise=8, attention=None, spectral_norm=False)
    )
    facts = {"deviations": ["warm start"], "images_seen": 7, "hours": 0.1, "validation": {"agreement": 0.5}}
    return GeneratorInverter(representation, generator, facts, "tiny")


def test_saving_replaces_a_saved_inverter_alone(inverter: GeneratorInverter, tmp_path: Path) -> None:
    for save in (inverter.save, inverter.save_pretrained):
        folder = tmp_path / save.__name__
        save(folder)
        save(folder)
        (folder / "thesis.txt").write_text("years of work")
        before = {p.name: p.read_bytes() for p in folder.iterdir()}
        with pytest.raises(UnlogitError, match="exists and unlogit did not write it"):
            save(folder)
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_saving_and_opening_gives_the_same_images(inverter: GeneratorInverter, tmp_path: Path) -> None:
    inverter.save(tmp_path / "inverter")
    again = open_inverter(str(tmp_path / "inverter"))
    images, noise = torch.rand(3, 3, 32, 32), inverter.sample_noise(3)
    assert torch.equal(inverter.reconstruct(images, noise), again.reconstruct(images, noise))
    assert isinstance(again, GeneratorInverter)
    assert (again.name, again.deviations, again.size, again.facts) == ("tiny", ("warm start",), 32, inverter.facts)
    card = (tmp_path / "inverter" / "README.md").read_text()
    assert "warm start" in card and "images seen: 7" in card and "| agreement | 0.5 |" in card


def test_a_byte_a_weight_changes_little(inverter: GeneratorInverter, tmp_path: Path) -> None:
    inverter.save(tmp_path / "whole")
    inverter.save(tmp_path / "small", bits=8)
    size = [(tmp_path / n / "model.safetensors").stat().st_size for n in ("whole", "small")]
    assert size[1] < 0.4 * size[0]  # Of a network this small; the names and scales tell.
    images, noise = torch.rand(3, 3, 32, 32), inverter.sample_noise(3)
    small = open_inverter(str(tmp_path / "small")).reconstruct(images, noise)
    torch.testing.assert_close(small, inverter.reconstruct(images, noise), rtol=0, atol=0.02)
    inverter.save(tmp_path / "smaller", bits=4)
    compressed = [len(zlib.compress((tmp_path / n / "model.safetensors").read_bytes())) for n in ("small", "smaller")]
    assert compressed[1] < 0.8 * compressed[0]
    with pytest.raises(UnlogitError, match="bits 9: must be 2 to 8, 16"):
        inverter.save(tmp_path / "small", bits=9)


@given(
    st.integers(0, 2**31),
    st.sampled_from([(3, 5), (2, 3, 3, 3), (1, 1), (4,)]),
    st.floats(1e-6, 1e3),
    st.sampled_from([(2, 1), (6, 31), (8, 127)]),
)
def test_no_weight_moves_by_more_than_half_a_step(
    seed: int, shape: tuple[int, ...], size: float, bits: tuple[int, int]
) -> None:
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * size
    weights[0] = 0  # A row of nothing stays nothing.
    again = unpacked(packed({"weight": weights}, bits[0]))["weight"]
    assert again.shape == weights.shape
    assert not again[0].any()
    if weights.ndim > 1:
        largest = weights.flatten(1).abs().amax(1).view(-1, *[1] * (weights.ndim - 1))
        assert ((again - weights).abs() <= largest / (2 * bits[1]) * (1 + 1e-4)).all()


def test_the_hub_interface_opens_a_folder(inverter: GeneratorInverter, tmp_path: Path) -> None:
    inverter.save_pretrained(tmp_path / "hub")
    again = GeneratorInverter.from_pretrained(str(tmp_path / "hub"))
    raw, noise = torch.randn(2, 10), inverter.sample_noise(2)
    assert torch.equal(again.invert(raw, noise), inverter.invert(raw, noise))


def test_damage_is_told(inverter: GeneratorInverter, tmp_path: Path) -> None:
    folder = tmp_path / "inverter"
    with pytest.raises(UnlogitError, match="must be a folder, a packaged inverter"):
        open_inverter(str(folder))
    folder.mkdir()
    with pytest.raises(UnlogitError, match=r"config.json is missing"):
        open_inverter(str(folder))
    inverter.save(folder)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UnlogitError, match="is damaged"):
        open_inverter(str(folder))
    inverter.save(folder)
    config = json.loads((folder / "config.json").read_text())
    config["generator"]["channels"] = 8
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnlogitError, match=r"weights do not fit its config.json"):
        open_inverter(str(folder))


def test_a_representation_of_another_length_is_told(inverter: GeneratorInverter) -> None:
    with pytest.raises(UnlogitError, match=r"shape \(2, 7\): this inverter reads N x 10"):
        inverter.invert(torch.randn(2, 7))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_variance_beyond_half_precision_is_kept(bits: int) -> None:
    """A channel whose variance became infinite would be constant."""
    tensors = {"var": torch.tensor([1.0, 106_059.0]), "weight": torch.ones(2, 2)}
    stored = packed(tensors, bits) if bits == 8 else {name: halved(value) for name, value in tensors.items()}
    torch.testing.assert_close(unpacked(stored), tensors, rtol=1e-3, atol=0)
