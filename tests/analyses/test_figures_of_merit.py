"""The three analyses say what the images are like."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from unlogit.analyses import Evidence, Finding, Record, Result, Table, quality, reconstruct, training
from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource
from unlogit.methods import Inverter
from unlogit.metrics import perceptual

FEW = quality.Config(metrics=(), draws=2)


@pytest.fixture(scope="module")
def evidence(tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter], perfect: Inverter) -> Evidence:
    return Evidence(tiny_scenes, {"perfect": perfect, **tiny_inverters})


@pytest.fixture(scope="module")
def results(evidence: Evidence) -> list[Result]:
    return list(quality.run(FEW, evidence))


def test_a_perfect_inverter_gets_perfect_figures_and_the_lead(results: list[Result]) -> None:
    values = {r.metric: r.estimate for r in results if isinstance(r, Record) and r.inverter == "perfect"}
    # The probe is the representation's, and no inverter has a part in it.
    probed = {r.inverter: r.estimate for r in results if isinstance(r, Record) and r.metric == "layout_cosine_probe"}
    assert values.pop("layout_cosine_probe") == probed["standard"] == probed["nearest"]
    assert probed["label only"].high < probed["standard"].low
    assert {name: e.value for name, e in values.items()} == pytest.approx(
        {
            "agreement": 1,
            "agreement_top5": 1,
            "logit_cosine": 1,
            "logit_error": 0,
            "pixel_error": 0,
            "layout_cosine": 1,
            "layout_top5": 1,
            "ssim": 1,
            "ssim_flip": 1,
            "pixel_error_flip": 0,
        },
        abs=1e-4,
    )
    assert values["agreement"].n == 100
    assert values["layout_top5"].n == 96
    findings = [r.text for r in results if isinstance(r, Finding)]
    assert len(findings) == 4
    against = next(text for text in findings if text.startswith("Against label only"))
    better = against.split("better in ")[1]
    assert "pixel error" in better
    assert "re-encoding error" in better
    assert "worse" not in against
    table = next(r for r in results if isinstance(r, Table) and r.name == "differences")
    assert [row[0] for row in table.rows] == ["standard", "label only", "robust", "nearest"]


def test_features_add_distances_between_sets(
    evidence: Evidence, tiny_classifier_spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "nowhere")
    inverters = {name: evidence.inverters[name] for name in ("perfect", "standard", "nearest")}
    seen = Evidence(evidence.source, inverters, features=open_classifier(tiny_classifier_spec))
    results = list(quality.run(dataclasses.replace(FEW, kid_subsets=10), seen))
    found = {(r.metric, r.inverter): r.estimate for r in results if isinstance(r, Record)}
    table = next(r for r in results if isinstance(r, Table) and r.name == "sets")
    # Real images against other real images are what a perfect inverter reaches, and not 0: the sets are of few images.
    real = dict(zip((m.name for m in quality.SETS), table.rows[0][1:], strict=True))
    assert table.rows[0][0] == "real images"
    assert {name: found[name, "perfect"] for name in real} == real
    assert found["fid", "standard"].low > real["fid"].value > 0
    assert found["kid", "standard"].low > real["kid"].high
    assert real["kid"].low < 0 < real["kid"].high
    assert "is of the order of the 16 feature dimensions" in table.caption
    assert "not a random sample" in table.caption
    assert "Left out: FID in Inception needs" in table.caption
    # Real images lie among real images, those of an untrained generator do not.
    assert found["precision", "standard"].high < found["precision", "perfect"].low
    alone = Evidence(evidence.source, {"perfect": inverters["perfect"]}, features=seen.features)
    table = next(r for r in quality.run(FEW, alone) if isinstance(r, Table) and r.name == "sets")
    assert "Nearest neighbours" not in table.caption


def test_metrics_that_cannot_be_had_are_told_and_others_kept(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "nowhere")
    perceptual.lpips.cache_clear()
    config = dataclasses.replace(FEW, metrics=("psnr", "lpips_alex"), num_metric_images=20)
    few = Evidence(evidence.source, {"perfect": evidence.inverters["perfect"]})
    table = next(r for r in quality.run(config, few) if isinstance(r, Table) and r.name == "perceptual")
    assert [c.title for c in table.columns] == ["inverter", "PSNR"]
    assert "Left out: LPIPS (alex) needs" in table.caption
    with pytest.raises(UnlogitError, match="unknown metric 'pnsr'"):
        list(quality.run(dataclasses.replace(FEW, metrics=("pnsr",)), few))


def test_the_benefit_of_the_doubt_never_hurts(results: list[Result]) -> None:
    found = {(r.metric, r.inverter): r.estimate for r in results if isinstance(r, Record)}
    assert found["pixel_error_flip", "standard"].value < found["pixel_error", "standard"].value
    assert found["pixel_error_best", "standard"].value < found["pixel_error", "standard"].value
    assert found["ssim_best", "standard"].value > found["ssim", "standard"].value
    assert ("ssim_best", "nearest") not in found


def test_every_pair_is_tested(results: list[Result]) -> None:
    table = next(r for r in results if isinstance(r, Table) and r.name == "tests")
    assert len(table.rows) == 10
    # What is measured of some images is tested too, and what a method cannot have is not.
    assert "PSNR" not in [c.title for c in table.columns]
    titles = [c.title for c in table.columns]
    assert "SSIM (mirrored or not)" in titles
    rows = {row[0]: row for row in table.rows}
    best = titles.index("SSIM (best of 2)")
    assert rows["standard − robust"][best] is not None
    assert rows["perfect − nearest"][best] is None
    p = {row[0]: dict(zip([c.title for c in table.columns], row, strict=True)) for row in table.rows}
    assert p["perfect − standard"]["pixel error"] == "< 0.001" or float(p["perfect − standard"]["pixel error"]) < 0.02
    with pytest.raises(UnlogitError, match="at least 2"):
        quality.Config(draws=1)


def test_without_enough_images_a_cell_is_empty(tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]) -> None:
    few = Evidence(tiny_scenes, tiny_inverters, limit=10)
    table = next(r for r in quality.run(FEW, few) if isinstance(r, Table))
    column = [c.title for c in table.columns].index("layout top 5")
    assert {row[column] for row in table.rows} == {None}


def test_the_grid_shows_the_images_at_whole_multiples(evidence: Evidence) -> None:
    figure, finding = list(reconstruct.run(reconstruct.Config(num_images=4), evidence))
    assert isinstance(finding, Finding)
    assert "4 for perfect" in finding.text
    images = figure.figure.axes[0].images  # type: ignore[union-attr]
    assert len(images) == 4 * 6
    place = int(evidence.sample(4, 0)[0])
    shown = np.asarray(images[0].get_array())
    factor = shown.shape[0] // 32
    assert factor > 1
    assert np.array_equal(shown[::factor, ::factor], evidence.originals.bytes[place].permute(1, 2, 0).numpy())
    left, right, bottom, top = images[0].get_extent()
    assert (right - left, bottom - top) == shown.shape[:2]
    # What is drawn is what was given, pixel for pixel.
    canvas = FigureCanvasAgg(figure.figure)  # type: ignore[union-attr]
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())
    assert np.array_equal(drawn[int(top) : int(bottom), int(left) : int(right), :3], shown)
    with pytest.raises(UnlogitError, match="at least 1"):
        reconstruct.Config(num_images=0)


def test_the_grid_can_leave_out_the_originals(evidence: Evidence) -> None:
    figure, _ = list(reconstruct.run(reconstruct.Config(num_images=4, originals=False), evidence))
    axes = figure.figure.axes[0]  # type: ignore[union-attr]
    shown = [np.asarray(image.get_array()) for image in axes.images]
    grey = [image for image in shown if (image == reconstruct.BLANK).all()]
    assert len(grey) == 4 and len(shown) == 4 * 6
    assert "not shown" in figure.caption  # type: ignore[union-attr]
    place = int(evidence.sample(4, 0)[0])
    original = evidence.originals.bytes[place].permute(1, 2, 0).numpy()
    last = evidence.reconstructed("perfect").images.bytes[place].permute(1, 2, 0).numpy()
    assert np.array_equal(original, last)  # So that only the reconstruction of a perfect inverter shows it.
    reconstructions = [image for image in shown if not (image == reconstruct.BLANK).all()]
    factor = shown[0].shape[0] // 32
    assert sum(np.array_equal(image[::factor, ::factor], original) for image in reconstructions) == 1


def test_the_trend_compares_the_end_with_what_was_before() -> None:
    lines = [
        {"images": 100 * i, "seconds": 1.0, "val/layout_cosine": v} for i, v in enumerate([0.1, 0.5, 0.4, 0.45], 1)
    ]
    (finding,) = training._trend(training.Run("a", {}, lines), 0.5)
    assert finding.text == (
        "a: the layout cosine went from 0.500 at 200 images to 0.450 at 400; its highest, 0.500, was at 200."
    )
