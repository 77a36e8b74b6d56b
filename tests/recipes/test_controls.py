"""Controls at the smallest size: what is trained, what is measured, and tests on values whose answer is known."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def controls(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import controls as recipe

    return recipe


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two parquet files of random 64 px images of two classes, as Tiny ImageNet is laid out."""
    random = np.random.default_rng(0)

    def write(name: str, count: int) -> None:
        encoded = []
        for _ in range(count):
            stream = io.BytesIO()
            coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
            coarse.resize((64, 64), Image.Resampling.BICUBIC).save(stream, "PNG")
            encoded.append({"bytes": stream.getvalue(), "path": None})
        labels = [i % 2 for i in range(count)]
        pq.write_table(pa.table({"image": encoded, "label": labels}), tmp_path / "data" / f"{name}.parquet")

    (tmp_path / "data").mkdir()
    write("train-00", 40)
    write("val", 32)
    return tmp_path / "data"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_noise_control_trains_measures_and_resumes(
    controls: ModuleType, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = controls.Controls(
        data, "noise", out=tmp_path / "runs", training=32, images=16, held_out=32, drawn=8, seeds=(0,)
    )
    controls.main(given)
    rows = table(tmp_path / "runs" / "noise" / "noise.csv")
    assert [row["row"] for row in rows] == ["robust", "standard"]
    for row in rows:
        assert row["training images"] == "16"
        assert 0 <= float(row["horizontal flips"]) <= 1 and float(row["diversity"]) > 0
        assert float(row["bits"]) <= 4 and row["bits beyond the class"]
        low, mean = (float(row[f"cosine for the evaluating classifier{part}"]) for part in (" low", ""))
        assert low <= mean
    with Image.open(tmp_path / "runs" / "noise" / "noise.png") as figure:
        assert figure.width > 1000
    tested = table(tmp_path / "runs" / "noise" / "noise-contrasts.csv")
    assert {row["contrast"] for row in tested} == {"robust - standard", "robust alone", "standard alone"}
    assert {row["measure"] for row in tested if row["contrast"] == "robust alone"} == {controls.DIFFERENCE}

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(controls, "train", refuse)
    controls.main(given)
    assert table(tmp_path / "runs" / "noise" / "noise.csv") == rows


def test_a_spatial_map_enters_the_generator_as_a_map(controls: ModuleType, tmp_path: Path) -> None:
    configs = controls.rows_of(controls.Controls(tmp_path, "depth"))
    maps = {name: config.method.generator.map for name, config in configs.items() if config.method.generator.map}
    assert maps == {
        f"{kind}, {layer}?reduce=flatten": shape
        for kind in ("robust", "standard")
        for layer, shape in (("blocks.2", (40, 12, 12)), ("blocks.4", (112, 6, 6)))
    }


@pytest.mark.parametrize(("control", "count"), [("features", 6), ("noise", 2), ("rivals", 7), ("depth", 14)])
def test_rows_differ_and_have_equal_images(controls: ModuleType, tmp_path: Path, control: str, count: int) -> None:
    configs = controls.rows_of(controls.Controls(tmp_path, control))
    assert len({repr(config) for config in configs.values()}) == len(configs) == count
    assert len({(config.num_images, config.images, config.held_out, config.batch) for config in configs.values()}) == 1
    for contrast in controls.contrasts(control, list(configs)):
        # Each compares as much with as much, but for what is tested against no flips.
        assert sum(contrast.weights.values()) == 0 or contrast.measures == (controls.DIFFERENCE,)


def test_what_the_paper_s_loss_has_beside_it_is_named_by_the_row(controls: ModuleType, tmp_path: Path) -> None:
    configs = controls.rows_of(controls.Controls(tmp_path, "rivals"))
    assert configs["robust, loss alone"].deviations == ()
    assert configs["robust, loss alone, scaled projection"].deviations == ("scaled projection",)
    assert configs["robust, scaled projection + layout"].deviations == ("layout term", "scaled projection")
    assert configs["robust, projected discriminator"].deviations == ("projected discriminator", "pixel branch")
    assert configs["robust, 2016a, comparator Lite1"].method.comparator == controls.LITE1


def runs(effects: dict[str, float], n: int = 400, seeds: int = 2) -> dict[str, list[dict[str, Any]]]:
    """Values with a large spread between images that all rows share, and the given means on top."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(n, generator=generator)
    found: dict[str, list[dict[str, Any]]] = {}
    for row, mean in effects.items():
        values = [shared + mean + 0.1 * torch.randn(n, generator=generator) for _ in range(seeds)]
        found[row] = [{"m": v.tolist(), "bits": v.view(-1, 8).tolist(), "absent": None} for v in values]
    return found


def rows_by_features(robust: float, standard: float, extra: float) -> dict[str, float]:
    """A twin's mean whatever the features, and what the robust twin gains by its own."""
    means = {"robust": robust, "standard": standard}
    return {
        f"{kind}, features of {whose}": mean + (extra if kind == whose == "robust" else 0)
        for kind, mean in means.items()
        for whose in ("robust", "standard", "Lite1")
    }


def test_an_interaction_is_found_where_there_is_one_and_not_where_the_twins_differ_alone(controls: ModuleType) -> None:
    for extra, interacts in ((0.0, False), (0.1, True)):
        found = runs(rows_by_features(0.2, 0.0, extra))
        wanted = controls.contrasts("features", list(found))
        tested = {(t["contrast"], t["measure"]): t for t in controls.test_contrasts(wanted, found)}
        assert {measure for _, measure in tested} == {"m", "bits"}
        for measure in ("m", "bits"):
            main = tested["robust - standard, features of Lite1", measure]
            assert main["verdict"] == "differs significantly"
            assert main["difference"].value == pytest.approx(0.2, abs=0.02)
            interaction = tested["interaction, features of robust - standard", measure]
            assert (interaction["verdict"] == "differs significantly") == interacts
            assert interaction["difference"].value == pytest.approx(extra, abs=0.03)
            assert len(str(interaction["by seed"]).split("; ")) == 2


def test_an_effect_on_images_that_seeds_reverse_is_shown_as_such(controls: ModuleType) -> None:
    """Each training differs by far more than its images say: significant over images, and not over trainings."""
    found = runs({"robust": 0.0, "standard": 0.0}, seeds=4)
    for row, shifts in (("robust", (0.5, -0.4, 0.6, -0.3)), ("standard", (-0.3, 0.4, -0.5, 0.2))):
        for run, shift in zip(found[row], shifts, strict=True):
            run["m"] = [value + shift for value in run["m"]]
    contrast = controls.Contrast("robust - standard", {"robust": 1, "standard": -1}, ("m",))
    (row,) = controls.test_contrasts([contrast], found)
    assert row["verdict"] == "differs significantly"
    interval = row["over trainings"]
    assert interval.low < 0 < interval.high
    assert interval.value == pytest.approx(row["difference"].value)


@pytest.mark.usefixtures("controls")
def test_the_interval_over_trainings_covers_the_truth() -> None:
    from _contrasts import over_trainings

    generator, hits = torch.Generator().manual_seed(1), 0
    for _ in range(300):
        rows = {name: torch.randn(2, 1, generator=generator) + mean for name, mean in (("a", 1.0), ("b", 0.0))}
        found = over_trainings({"a": 1, "b": -1}, rows)
        hits += found.low <= 1 <= found.high
    assert 0.92 <= hits / 300 <= 0.98
    assert over_trainings({"a": 1}, {"a": torch.ones(1, 3)}).high == float("inf")


def test_each_layer_is_compared_between_twins_and_with_the_layer_before(controls: ModuleType) -> None:
    rows = [f"{kind}, {layer}" for kind in ("robust", "standard") for layer in ("penultimate", "logits", "label")]
    assert [contrast.name for contrast in controls.contrasts("depth", rows)] == [
        *(f"robust - standard, {layer}" for layer in ("penultimate", "logits", "label")),
        *(f"{kind}, {pair}" for kind in ("robust", "standard") for pair in ("logits - penultimate", "label - logits")),
    ]


def test_depth_is_drawn_as_curves_and_another_control_by_training(controls: ModuleType, tmp_path: Path) -> None:
    values = torch.rand(16, generator=torch.Generator().manual_seed(0))
    run = {measure: values.tolist() for measures in controls.SHOWN.values() for measure in measures}
    run |= {"bits": values.view(2, 8).tolist(), "bits beyond the class": None}
    for control, rows in (
        ("depth", ["robust, logits", "robust, label", "standard, logits"]),
        ("rivals", ["robust, 2016a"]),
    ):
        file = tmp_path / f"{control}.png"
        controls.draw(file, controls.Controls(tmp_path, control), {row: [run, run] for row in rows})
        with Image.open(file) as figure:
            assert len(figure.convert("RGB").getcolors(1 << 24) or ()) > 100


def test_flips_are_tested_against_none(controls: ModuleType) -> None:
    found = {
        kind: [
            {
                controls.DIFFERENCE: (
                    torch.rand(200, generator=torch.Generator().manual_seed(seed)) * 0.1 + mean
                ).tolist()
            }
            for seed in range(2)
        ]
        for kind, mean in (("robust", 0.3), ("standard", -0.05))
    }
    tested = {t["contrast"]: t for t in controls.test_contrasts(controls.contrasts("noise", list(found)), found)}
    assert tested["robust alone"]["verdict"] == "differs significantly"
    assert tested["standard alone"]["verdict"] == "not significant"
    assert tested["robust - standard"]["difference"].value == pytest.approx(0.35, abs=0.02)
