"""Recognition and spectrum tell a perfect inverter from one of random weights, and from one with a lattice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from unlogit.analyses import Evidence, Figure, Finding, Record, Result, Table, recognition, spectrum
from unlogit.classifiers.small import SmallConfig, SmallResNet, save_small
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, open_images
from unlogit.methods import Inverter
from unlogit.statistics import Estimate


@pytest.fixture(scope="module")
def independent(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`small:FOLDER` of a classifier that is no inverter's."""
    folder: Path = tmp_path_factory.mktemp("independent") / "network"
    torch.manual_seed(7)
    names = open_images("scenes:").class_names
    save_small(folder, SmallResNet(SmallConfig(len(names), 32, (8, 8, 16))), names, {})
    return f"small:{folder}"


class Lattice(Inverter):
    """The perfect inverter's images with stripes over them."""

    def __init__(self, perfect: Inverter) -> None:
        super().__init__()
        self.name, self.representation, self.size = "lattice", perfect.representation, perfect.size
        self.perfect = perfect

    def invert(self, raw: Tensor, noise: Tensor | None = None) -> Tensor:
        x = torch.arange(self.size)
        stripes = 0.05 * torch.cos(2 * torch.pi * 0.375 * x) * torch.ones(self.size, 1)
        return (self.perfect.invert(raw, noise) * 0.9 + 0.05 + stripes).clamp(0, 1)


@pytest.fixture(scope="module")
def evidence(tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter], perfect: Inverter) -> Evidence:
    return Evidence(tiny_scenes, {"perfect": perfect, "standard": tiny_inverters["standard"]})


@pytest.fixture(scope="module")
def recognised(evidence: Evidence, independent: str, tiny_classifier_spec: str) -> list[Result]:
    return list(recognition.run(recognition.Config((independent, tiny_classifier_spec), images=64), evidence))


def table(results: list[Result], name: str) -> dict[str, dict[str, object]]:
    found = next(r for r in results if isinstance(r, Table) and r.name == name)
    return {str(row[0]): dict(zip([c.title for c in found.columns], row, strict=True)) for row in found.rows}


def test_a_perfect_inverter_is_recognised_and_stands_above_thumbnails(
    recognised: list[Result], independent: str
) -> None:
    rows = table(recognised, "network-0")
    assert list(rows)[:2] == ["mirrored", "noise 0.05"]
    values = {name: row["cosine"] for name, row in rows.items()}
    assert all(isinstance(v, Estimate) and v.n == 64 for v in values.values())
    cosine = {name: v.value for name, v in values.items() if isinstance(v, Estimate)}
    assert cosine["perfect"] == pytest.approx(1, abs=1e-4)
    assert cosine["standard"] < cosine["thumbnail 8 px"] < cosine["thumbnail 16 px"] < cosine["perfect"]
    numbers = {(r.metric, r.inverter): r.estimate.value for r in recognised if isinstance(r, Record)}
    assert numbers[f"same_class by {independent}", "perfect"] == 1
    # One sentence for all inverters, which a summary can quote.
    (finding,) = [r.text for r in recognised if isinstance(r, Finding) and "reconstructions by" in r.text]
    assert "reconstructions by perfect have a logit cosine of 1.00" in finding and "by standard" in finding
    assert "8 px" in finding
    (pairs,) = [r for r in recognised if isinstance(r, Table) and r.name == "pairs-0"]
    assert [row[1] for row in pairs.rows] == ["cosine", "same class", "class in top 5"]
    difference, verdict = pairs.rows[0][2], pairs.rows[0][4]
    assert isinstance(difference, Estimate) and difference.low > 0 and verdict == "differs significantly"


def test_a_network_that_took_part_is_marked_and_has_no_say(recognised: list[Result], tiny_classifier_spec: str) -> None:
    rows = table(recognised, "network-1")
    # It has the weights of the inverted classifier, under another name.
    assert rows["perfect"]["part in training"] == "yes: small:random-0"
    assert rows["mirrored"]["part in training"] is None
    assert table(recognised, "network-0")["perfect"]["part in training"] == "no"
    # A saved inverter that does not record its networks may have been trained by any.
    assert table(recognised, "network-0")["standard"]["part in training"] == "not known"
    said = [r.text for r in recognised if isinstance(r, Finding)] + [
        r.metric for r in recognised if isinstance(r, Record)
    ]
    assert said and not any(tiny_classifier_spec in text for text in said)
    assert not any(isinstance(r, Table) and r.name == "pairs-1" for r in recognised)


def test_networks_are_opened_or_named_in_an_error(evidence: Evidence) -> None:
    with pytest.raises(UnlogitError, match="unknown packaged classifier 'lite9'"):
        list(recognition.run(recognition.Config(("packaged:lite9",)), evidence))

    assert not list(recognition.run(recognition.Config(), evidence)), "ImageNet classifiers evaluate scenes"
    with pytest.raises(UnlogitError, match="images 1: must be at least 2"):
        recognition.Config(images=1)
    with pytest.raises(UnlogitError, match="at least one classifier"):
        recognition.Config(networks=())


def test_the_spectrum_finds_a_lattice(evidence: Evidence, perfect: Inverter) -> None:
    inverters = {"lattice": Lattice(perfect), **evidence.inverters}
    results = list(spectrum.run(spectrum.Config(), Evidence(evidence.source, inverters)))
    numbers = {(r.metric, r.inverter): r.estimate for r in results if isinstance(r, Record)}
    assert numbers["largest excess", "perfect"].value == pytest.approx(0, abs=1e-6)
    assert numbers["excess 0.25 to 0.5", "perfect"].value == pytest.approx(0, abs=1e-6)
    assert numbers["largest excess", "lattice"].low > 10
    assert numbers["excess 0.25 to 0.5", "lattice"].low > 1
    # Its contrast is 0.9 of the originals'.
    assert numbers["excess 0.0625 to 0.125", "lattice"].value == pytest.approx(-0.92, abs=0.3)
    rows = table(results, "excess")
    assert rows["lattice"]["at"] == "0.000, 0.375"
    thumbnail = rows["thumbnail 16 px"]["0.25 to 0.5"]
    assert isinstance(thumbnail, Estimate) and thumbnail.high < -3
    (pairs,) = [r for r in results if isinstance(r, Table) and r.name == "pairs"]
    high = next(row for row in pairs.rows if row[:2] == ("lattice − perfect", "power, 0.25 to 0.5"))
    assert isinstance(high[2], Estimate) and high[2].low > 1
    assert high[4] == "differs significantly"
    assert [r.name for r in results if isinstance(r, Figure)] == ["curves", "maps"]
    assert any("lattice: power in the highest octave is +" in r.text for r in results if isinstance(r, Finding))
    with pytest.raises(UnlogitError, match="images 1: must be at least 2"):
        spectrum.Config(images=1)
