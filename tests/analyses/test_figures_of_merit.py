"""The three analyses say what the pictures are like."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch import Tensor

from unlogit.analyses import Evidence, Finding, Number, Table, quality, reconstruct, training
from unlogit.analyses._style import enlarge, shorten
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource
from unlogit.intervals import Estimate
from unlogit.inverters import Inverter


class Perfect(Inverter):
    """Gives back the very pictures, by looking them up."""

    def __init__(self, like: Inverter, pictures: Tensor) -> None:
        super().__init__()
        self.name, self.representation, self.size = "perfect", like.representation, like.size
        self.pictures = pictures
        self.known = self.representation.raw(pictures)

    def invert(self, raw: Tensor, noise: Tensor | None = None) -> Tensor:
        return self.pictures[torch.cdist(raw, self.known).argmin(1)]


@pytest.fixture(scope="module")
def evidence(tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]) -> Evidence:
    originals = Evidence(tiny_scenes, tiny_inverters).originals[:]
    return Evidence(tiny_scenes, {"perfect": Perfect(tiny_inverters["standard"], originals), **tiny_inverters})


def test_a_perfect_inverter_gets_perfect_figures_and_the_lead(evidence: Evidence) -> None:
    results = list(quality.run(quality.Config(), evidence))
    values = {r.name: r.estimate for r in results if isinstance(r, Number) and r.inverter == "perfect"}
    assert {name: e.value for name, e in values.items()} == pytest.approx(
        {
            "agreement": 1,
            "agreement_top5": 1,
            "logit_cosine": 1,
            "logit_error": 0,
            "pixel_error": 0,
            "layout_cosine": 1,
            "layout_top5": 1,
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


def test_features_add_fid_and_kid(evidence: Evidence, tiny_classifier_spec: str) -> None:
    config = quality.Config(features=tiny_classifier_spec, kid_subsets=10)
    found = {(r.name, r.inverter): r.estimate for r in quality.run(config, evidence) if isinstance(r, Number)}
    assert found["fid", "perfect"].value == pytest.approx(0, abs=1e-3)
    assert found["fid", "standard"].low > found["fid", "nearest"].value
    assert found["kid", "standard"].low > found["kid", "perfect"].high


def test_without_enough_pictures_a_cell_is_empty(tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]) -> None:
    few = Evidence(tiny_scenes, tiny_inverters, limit=10)
    table = next(r for r in quality.run(quality.Config(), few) if isinstance(r, Table))
    column = [c.title for c in table.columns].index("layout top 5")
    assert {row[column] for row in table.rows} == {None}


def test_the_verdict_names_each_side() -> None:
    merits = [m for m in quality.MERITS if m.name in ("agreement", "pixel_error", "layout_cosine")]
    differences = [Estimate(0.2, 0.1, 0.3, 9), Estimate(0.2, 0.1, 0.3, 9), Estimate(0.0, -0.1, 0.1, 9)]
    verdict = quality._verdict(merits, differences)
    assert verdict == "better in same class, worse in pixel error, not told apart in layout cosine"
    assert quality.listed(["a", "b", "c"]) == "a, b and c"
    assert quality.listed(["a"]) == "a"


def test_the_grid_shows_the_pictures_at_whole_multiples(evidence: Evidence) -> None:
    figure, finding = list(reconstruct.run(reconstruct.Config(pictures=4), evidence))
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
        reconstruct.Config(pictures=0)


def test_enlarge_and_shorten() -> None:
    picture = torch.arange(12, dtype=torch.uint8).view(3, 2, 2)
    assert enlarge(picture, 2)[:, :, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abc defg", 5) == "abc…"


def test_the_trend_compares_the_end_with_what_was_before() -> None:
    lines = [
        {"images": 100 * i, "seconds": 1.0, "val/layout_cosine": v} for i, v in enumerate([0.1, 0.5, 0.4, 0.45], 1)
    ]
    (finding,) = training._trend(training.Run("a", {}, lines), 0.5)
    assert finding.text == (
        "a: the layout cosine went from 0.500 at 200 pictures to 0.450 at 400; its highest, 0.500, was at 200."
    )
