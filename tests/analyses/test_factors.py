"""Readers of factors find what is there, and nothing where there is nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.analyses import Evidence, Figure, Finding, Record, Table, factors
from unlogit.analyses._factors import Readers, Reading, class_share, of_source, targets
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource
from unlogit.images.scenes import FACTORS, SceneImages, render
from unlogit.methods import Inverter

COUNT = 1200


@pytest.fixture(scope="module")
def scenes() -> SceneImages:
    return SceneImages("scenes:", "train", 32, COUNT)


@pytest.fixture(scope="module")
def readers(scenes: SceneImages) -> Readers:
    return Readers(of_source(scenes, torch.arange(COUNT)), scenes.labels, seed=0, epochs=12)


def shares(readers: Readers, said: dict[str, Tensor], held_out: SceneImages) -> dict[str, float]:
    known, offsets = of_source(held_out, torch.arange(len(held_out))), readers.of_class(held_out.labels)
    return {name: Reading.of(said[name], known[name], offsets[name], 0).explained(0).value for name in known}


def test_what_is_in_a_representation_is_read_and_what_is_not_is_not(scenes: SceneImages, readers: Readers) -> None:
    held_out = SceneImages("scenes:test", "test", 32, 600)

    def encode(source: SceneImages) -> Tensor:
        values = source.factors(torch.arange(len(source)))
        # The hue bent, the scale straight, brightness half hidden by noise, and nothing of the rest.
        hue, scale, brightness = values["hue"], values["scale"], values["brightness"]
        noise = torch.randn(len(source), generator=torch.Generator().manual_seed(len(source)))
        angle = 2 * math.pi * hue
        standard = (brightness - 0.65) / (0.26 / 12**0.5)
        return torch.stack([angle.cos(), angle.sin(), 3 * scale, standard + noise], 1)

    raw, asked = encode(scenes), encode(held_out)
    linear = shares(readers, readers.linear(raw)(asked, held_out.labels), held_out)
    assert linear["hue"] > 0.99
    assert linear["scale"] > 0.99
    assert linear["brightness"] == pytest.approx(0.5, abs=0.08)
    rest = {name: share for name, share in linear.items() if name not in ("hue", "scale", "brightness")}
    assert max(rest.values()) < 0.05


def test_a_product_is_nothing_to_a_line_and_no_matter_to_a_network(scenes: SceneImages, readers: Readers) -> None:
    held_out = SceneImages("scenes:test", "test", 32, 600)

    def encode(source: SceneImages) -> Tensor:
        sign = torch.randint(2, (len(source),), generator=torch.Generator().manual_seed(len(source))) * 2.0 - 1
        distractor = source.factors(torch.arange(len(source)))["distractor"] * 2.0 - 1
        return torch.stack([sign, sign * distractor], 1)

    raw, asked = encode(scenes), encode(held_out)
    assert shares(readers, readers.linear(raw)(asked, held_out.labels), held_out)["distractor"] < 0.05
    assert shares(readers, readers.mlp(raw)(asked, held_out.labels), held_out)["distractor"] > 0.8


def test_the_class_alone_is_worth_nothing_beyond_itself_and_its_habits_before(
    scenes: SceneImages, readers: Readers
) -> None:
    held_out = SceneImages("scenes:test", "test", 32, 600)
    known, offsets = of_source(held_out, torch.arange(600)), readers.of_class(held_out.labels)
    none = shares(readers, readers.linear(torch.zeros(COUNT, 1))(torch.zeros(600, 1), held_out.labels), held_out)
    assert max(none.values()) < 0.03
    assert class_share(known["hue"], offsets["hue"], 0).low > 0.1
    assert class_share(known["gradient_direction"], offsets["gradient_direction"], 0).high < 0.03


def test_images_are_read(scenes: SceneImages) -> None:
    images = scenes.render(range(COUNT)).float() / 255
    held_out = SceneImages("scenes:test", "test", 32, 300)
    readers = Readers(of_source(scenes, torch.arange(COUNT)), scenes.labels, seed=0, epochs=4)
    said = readers.convolutional(lambda at: images[at])(held_out.render(range(300)).float() / 255, held_out.labels)
    found = shares(readers, said, held_out)
    assert found["background_hue"] > 0.5
    assert found["contrast"] > 0.4
    assert found["brightness"] > 0.4


def test_rotation_counts_as_it_is_seen() -> None:
    """Two scenes that look alike have one target: a crescent mirrored, and one turned by half a turn."""
    source = SceneImages("scenes:", "train", 32, 400)
    values = source.factors(torch.arange(400))
    values["texture"].zero_()
    values["distractor"].zero_()
    crescents = source.labels == source.class_names.index("crescent")
    one = {name: value[crescents] for name, value in values.items()}
    labels = source.labels[crescents]
    turned = {**one, "mirror": ~one["mirror"], "rotation": (one["rotation"] + 0.5) % 1}
    assert torch.allclose(render(labels, one, 32), render(labels, turned, 32), atol=1e-3)
    a, b = targets(one, labels)["rotation"], targets(turned, labels)["rotation"]
    assert torch.allclose(a.values, b.values, atol=1e-5)
    assert a.shows.all()
    every = targets(values, source.labels)
    names = [source.class_names[i] for i in source.labels]
    assert {n for n, s in zip(names, every["rotation"].shows, strict=True) if s} == {
        "heart",
        "crescent",
        "comma",
        "bolt",
    }
    assert {n for n, s in zip(names, every["mirror"].shows, strict=True) if s} == {"comma", "bolt", "pinwheel"}


def test_accuracy_is_balanced() -> None:
    classes = torch.tensor([0] * 90 + [1] * 10)
    true = classes.double()[:, None] * 2 - 1
    always = Reading(torch.full((100, 1), -0.1, dtype=torch.double), true, torch.zeros(100, 1).double(), classes)
    assert always.accuracy(0).value == pytest.approx(0.5)
    right = Reading(true * 0.1, true, torch.zeros(100, 1).double(), classes)
    assert right.accuracy(0).value == 1
    hot = F.one_hot(torch.arange(100) % 4).double()
    of_four = Reading(hot - 0.25, hot - 0.25, torch.full((100, 4), 0.25).double(), torch.arange(100) % 4)
    assert of_four.accuracy(0).value == 1
    assert of_four.explained(0).value == pytest.approx(1)
    assert Reading(true, true, true, None).accuracy(0) is None


def test_the_analysis_has_a_row_a_factor_and_a_panel_a_classifier(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]
) -> None:
    inverters = {name: tiny_inverters[name] for name in ("standard", "label only", "robust")}
    results = list(factors.run(factors.Config(training=200, epochs=1), Evidence(tiny_scenes, inverters)))
    table = next(r for r in results if isinstance(r, Table))
    assert {row[0] for row in table.rows} <= {name.replace("_", " ") for name in FACTORS}
    assert {"hue", "rotation", "mirror"} - {row[0] for row in table.rows} <= {"rotation", "mirror"}
    titles = [c.title for c in table.columns]
    assert titles[2:] == [
        *("image", "linear, standard", "MLP, standard", "linear, robust", "MLP, robust"),
        *("standard", "label only", "robust"),
    ]
    figure = next(r for r in results if isinstance(r, Figure)).figure
    assert [axis.get_title("left") for axis in figure.axes] == ["classifier of standard", "classifier of robust"]
    assert {r.inverter for r in results if isinstance(r, Record)} == set(inverters)
    assert len([r for r in results if isinstance(r, Finding) and "beyond the class" in r.text]) == 2
    # Classifiers are compared by either probe, inverters by what they reconstruct, all on the same images.
    pairs = next(r for r in results if isinstance(r, Table) and r.name == "pairs")
    compared = {row[0] for row in pairs.rows if str(row[1]).endswith("MLP")}
    assert compared == {"standard − robust"}
    assert len({row[0] for row in pairs.rows if str(row[1]).endswith("reconstruction")}) == 3
    with pytest.raises(UnlogitError, match="at least 200"):
        factors.Config(training=10)
