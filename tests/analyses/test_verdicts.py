"""Verdicts are right on data whose answer is known, where the obvious way to reach them is wrong."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.analyses import Evidence, Finding, Record, Table, compare, identify, probe, scale, spread
from unlogit.analyses._fidelity import Margins, MetricInfo, common_merits
from unlogit.analyses._paired import format_difference, format_share, pair_tests, report_pairs
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource
from unlogit.methods import Inverter
from unlogit.statistics import Difference, Estimate, bootstrap


class ByDirection(Inverter):
    """Finds the image by the direction of its logits, and fades it the more, the more they are scaled."""

    def __init__(self, like: Inverter, images: Tensor, fading: float) -> None:
        super().__init__()
        self.name, self.representation, self.size = "by direction", like.representation, like.size
        self.images, self.fading = images, fading
        self.known = self.representation.raw(images)

    def invert(self, raw: Tensor, noise: Tensor | None = None) -> Tensor:
        found = (F.normalize(raw, dim=1) @ F.normalize(self.known, dim=1).T).argmax(1)
        amount = (raw.norm(dim=1) / self.known[found].norm(dim=1)).log().abs() * self.fading
        return torch.lerp(self.images[found], torch.full_like(self.images[found], 0.5), amount.view(-1, 1, 1, 1))


@pytest.fixture(scope="module")
def images(tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]) -> Tensor:
    return Evidence(tiny_scenes, tiny_inverters).originals[:]


def test_equal_losses_at_both_ends_of_a_sweep_are_losses(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter], images: Tensor
) -> None:
    like = tiny_inverters["standard"]
    inverters: dict[str, Inverter] = {
        "steady": ByDirection(like, images, 0.0),
        "fading": ByDirection(like, images, 1.2),
    }
    found = list(scale.run(scale.Config(exponents=(-0.3, 0.0, 0.3)), Evidence(tiny_scenes, inverters)))
    changes = {(r.metric, r.inverter, r.at): r.estimate for r in found if isinstance(r, Record)}
    low, high = (changes["distance_change", "fading", 10.0**e] for e in (-0.3, 0.3))
    # From end to end nothing changes.
    assert low.value == pytest.approx(high.value, abs=1e-2)
    assert min(low.low, high.low) > 0.1
    steady, fading = ([t for t in texts if t.startswith(f"{n}, ")] for n in inverters for texts in [_texts(found)])
    assert len(steady) == len(fading) == 2
    for text in fading:
        assert "distance to original +0." in text
        assert "significant change in" in text
    assert all("no significant change; equivalent to no change in brightness" in text for text in steady)
    # The two inverters are compared at each amount, by the change of the same images.
    for amount in ("0.501", "2"):
        assert changes[f"distance_change_at_{amount}_less_fading", "steady", None].high < -0.1


def _texts(found: list[object]) -> list[str]:
    return [r.text for r in found if isinstance(r, Finding)]


def test_a_paired_effect_is_reported_that_the_marginal_intervals_hide() -> None:
    generator = torch.Generator().manual_seed(0)
    difficulty = torch.randn(200, generator=generator)
    values = {
        "a": {"m": difficulty + 0.05, "n": difficulty},
        "b": {"m": difficulty + 0.05 * torch.randn(200, generator=generator), "n": difficulty.roll(1)},
    }
    marginal = [bootstrap(each["m"]) for each in values.values()]
    assert marginal[0].low < marginal[1].high
    merits = (MetricInfo("m", "measure", None, ""), MetricInfo("n", "another", None, ""))
    one, other, table, finding = report_pairs(merits, pair_tests(merits, values, 0), "Of these.")
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["a − b"] * 2
    assert [row[-1] for row in table.rows] == ["differs significantly", "not significant"]
    assert isinstance(one, Record)
    assert isinstance(other, Record)
    assert (one.metric, one.inverter) == ("m_less_b", "a")
    assert one.estimate.low > 0
    assert isinstance(finding, Finding)
    assert finding.text.startswith("a less b, paired: measure +0.0")


def test_many_tests_of_one_family_are_corrected() -> None:
    """Of 200 measures that do not differ, some intervals exclude 0, and no verdict says so."""
    generator = torch.Generator().manual_seed(0)
    merits = tuple(MetricInfo(str(k), str(k), None, "") for k in range(200))
    one, other = ({m.name: torch.randn(60, generator=generator) for m in merits} for _ in range(2))
    found = list(report_pairs(merits, pair_tests(merits, {"a": one, "b": other}, 0), ""))
    table = next(r for r in found if isinstance(r, Table))
    estimates = [row[2] for row in table.rows]
    assert any(e.low > 0 or e.high < 0 for e in estimates if isinstance(e, Estimate))
    assert {row[-1] for row in table.rows} == {"not significant"}
    assert _texts(found) == ["a less b, paired: not significant in 200 of 200 measures."]


def test_only_measures_that_mean_the_same_for_both_are_counted(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]
) -> None:
    inverters = {name: tiny_inverters[name] for name in ("standard", "robust")}
    own, third = (inverters["robust"].representation.classifier, None)
    evidence = Evidence(tiny_scenes, inverters, features=own)
    # The features of a classifier that one of them reads are no common measure.
    assert {m.name for m in common_merits(evidence)} == {"pixel_error", "layout_cosine", "ssim"}
    assert Evidence(tiny_scenes, inverters, features=third).independent is None
    apart = Evidence(tiny_scenes, {"standard": inverters["standard"]}, features=own)
    assert "perceptual_distance" in {m.name for m in common_merits(apart)}
    found = list(compare.run(compare.Config(), evidence))
    names = {r.metric for r in found if isinstance(r, Record)}
    assert "keeps_more_than_robust_pixel_error" in names
    assert not any("logit" in name or "agreement" in name for name in names)
    shares = next(r for r in found if isinstance(r, Table) and r.name.startswith("shares"))
    assert [row[0] for row in shares.rows][-1] == compare.ALL


def test_line_ups_are_the_same_for_inverters_of_different_classifiers(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter], images: Tensor
) -> None:
    inverters: dict[str, Inverter] = {n: ByDirection(tiny_inverters[n], images, 0.0) for n in ("standard", "robust")}
    evidence = Evidence(tiny_scenes, inverters)
    predicted = [evidence.encoded(name).logits.argmax(1) for name in inverters]
    assert not torch.equal(*predicted)
    found = list(identify.run(identify.Config(among=8, among_class=4), evidence))
    values = {(r.metric, r.inverter): r.estimate for r in found if isinstance(r, Record)}
    # Both reconstruct every image perfectly, so that the same line-ups prove the same.
    for kind in ("any", "class"):
        assert values[f"bits_{kind}_together", "standard"] == values[f"bits_{kind}_together", "robust"]
        assert values[f"bits_{kind}_together_less_robust", "standard"].value == 0
    assert "4 of the same true class" in _texts(found)[0]
    assert "ceiling 2 bits" in _texts(found)[0]
    lineups = identify._classes(identify.Config(), evidence)
    assert torch.equal(lineups[0], evidence.labels)
    of_first, whose = identify._classes(identify.Config(classes="predicted"), evidence)
    assert torch.equal(of_first, predicted[0])
    assert whose == "class predicted by the classifier of standard"


def test_classifiers_are_compared_by_the_spread_of_the_same_images(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]
) -> None:
    inverters = {name: tiny_inverters[name] for name in ("standard", "robust")}
    evidence = Evidence(tiny_scenes, inverters)
    found = list(spread.run(spread.Config(), evidence))
    d = next(r.estimate for r in found if isinstance(r, Record) and r.metric == "spread_ratio_less_robust")
    one, other = (spread.spread(evidence.raw(name), evidence.labels).ratio for name in inverters)
    assert d.value == pytest.approx(float((one - other).mean()))
    assert d.n == 100


def test_the_probe_stands_beside_the_inverter(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter], perfect: Inverter
) -> None:
    evidence = Evidence(tiny_scenes, {"perfect": perfect, "standard": tiny_inverters["standard"]})
    found = list(probe.run(probe.Config(), evidence))
    values = {(r.metric, r.inverter): r.estimate for r in found if isinstance(r, Record)}
    # The two read the same logits, which are probed once; the perfect one looks images up.
    assert {inverter for name, inverter in values if name == "probe_r2_layout"} == {"perfect"}
    read = values["probe_layout_cosine", "perfect"]
    assert 0.2 < read.low < read.high < 0.95
    assert values["layout_less_probe", "perfect"].value == pytest.approx(1 - read.value, abs=1e-5)
    assert values["layout_less_probe", "standard"].high < 0
    assert not list(probe.run(probe.Config(), Evidence(tiny_scenes, evidence.inverters, limit=10)))


def test_a_probe_that_is_fitted_on_training_images_does_not_see_the_held_out_ones(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]
) -> None:
    inverters = {"standard": tiny_inverters["standard"]}
    fitted = Evidence(tiny_scenes, inverters, fit_on=tiny_scenes, fit_limit=60)
    crossed = Evidence(tiny_scenes, inverters)
    assert fitted.training_images is not None
    assert len(fitted.training_images) == len(fitted.training_raw("standard")) == 60
    assert crossed.training_images is None
    assert len({fitted.fingerprint(), crossed.fingerprint()}) == 2


def test_differences_are_written_with_signs_and_enough_digits() -> None:
    d = Difference(Estimate(-0.0123, -0.0180, -0.0066, 9), 0.0004)
    assert format_difference(d) == "−0.012 (95 % CI −0.018 to −0.007, p < 0.001): differs significantly"
    tiny = Difference(Estimate(0.00031, -0.00012, 0.0007, 9), 0.2, 0.005, 0.001)
    assert format_difference(tiny) == "+0.00031 (95 % CI −0.00012 to +0.00070, p = 0.200): equivalent within ±0.005"
    assert format_share(Estimate(0.782, 0.755, 0.806, 1000)) == "78.2 % (95 % CI 75.5 to 80.6)"


def test_a_margin_is_above_zero() -> None:
    with pytest.raises(UnlogitError, match=r"margins\.cosine 0: must be positive"):
        Margins(cosine=0)
