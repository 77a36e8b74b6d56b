"""Verdicts are right on data whose answer is known, where the obvious way to reach them is wrong."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.analyses import (
    Evidence,
    Finding,
    Record,
    Result,
    Table,
    adversarial,
    compare,
    identify,
    mistakes,
    noise,
    out_of_distribution,
    probe,
    quality,
    scale,
    spectrum,
    spread,
)
from unlogit.analyses._fidelity import Margins, MetricInfo, common_metrics
from unlogit.analyses._paired import format_difference, format_share, pair_tests, report_pairs
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, open_images
from unlogit.methods import Inverter
from unlogit.methods.biggan.config import FIRST_LAYER
from unlogit.statistics import Difference, Estimate, bootstrap


class ByDirection(Inverter):
    """Finds the image by the direction of its logits, and fades it the more, the more they are scaled.

    Args:
        like: an inverter of the same classifier.
        images: all that it knows, N x 3 x S x S.
        fading: per natural logarithm of the scale.
        faded: share of grey in each image whatever its scale, N.
    """

    def __init__(self, like: Inverter, images: Tensor, fading: float = 0.0, faded: Tensor | None = None) -> None:
        super().__init__()
        self.name, self.representation, self.size = "by direction", like.representation, like.size
        self.images, self.fading = images, fading
        self.faded = torch.zeros(len(images)) if faded is None else faded
        self.known = self.representation.raw(images)

    def invert(self, raw: Tensor, noise: Tensor | None = None) -> Tensor:
        found = (F.normalize(raw, dim=1) @ F.normalize(self.known, dim=1).T).argmax(1)
        amount = (raw.norm(dim=1) / self.known[found].norm(dim=1)).log().abs() * self.fading + self.faded[found]
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


def _texts(found: list[Result]) -> list[str]:
    return [r.text for r in found if isinstance(r, Finding)]


def _rows(found: list[Result], name: str) -> dict[tuple[object, object], object]:
    """Return the last cell of each row of a table by its first two."""
    table = next(r for r in found if isinstance(r, Table) and r.name == name)
    return {(row[0], row[1]): row[-1] for row in table.rows}


def test_a_paired_effect_is_reported_that_the_marginal_intervals_hide() -> None:
    generator = torch.Generator().manual_seed(0)
    difficulty = torch.randn(200, generator=generator)
    values = {
        "a": {"m": difficulty + 0.05, "n": difficulty},
        "b": {"m": difficulty + 0.05 * torch.randn(200, generator=generator), "n": difficulty.roll(1)},
    }
    marginal = [bootstrap(each["m"]) for each in values.values()]
    assert marginal[0].low < marginal[1].high
    metrics = (MetricInfo("m", "measure", None, ""), MetricInfo("n", "another", None, ""))
    one, other, table, finding = report_pairs(metrics, pair_tests(metrics, values, 0), "Of these.")
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
    metrics = tuple(MetricInfo(str(k), str(k), None, "") for k in range(200))
    one, other = ({m.name: torch.randn(60, generator=generator) for m in metrics} for _ in range(2))
    found = list(report_pairs(metrics, pair_tests(metrics, {"a": one, "b": other}, 0), ""))
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
    assert {m.name for m in common_metrics(evidence)} == {"pixel_error", "layout_cosine", "ssim"}
    assert Evidence(tiny_scenes, inverters, features=third).independent is None
    apart = Evidence(tiny_scenes, {"standard": inverters["standard"]}, features=own)
    assert "perceptual_distance" in {m.name for m in common_metrics(apart)}
    found = list(compare.run(compare.Config(), evidence))
    names = {r.metric for r in found if isinstance(r, Record)}
    assert "keeps_more_than_robust_pixel_error" in names
    assert not any("logit" in name or "agreement" in name for name in names)
    shares = next(r for r in found if isinstance(r, Table) and r.name.startswith("shares"))
    assert [row[0] for row in shares.rows][-1] == compare.ALL


def test_the_sentence_on_quality_keeps_scores_of_two_classifiers_apart(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter], images: Tensor
) -> None:
    perfect = ByDirection(tiny_inverters["standard"], images)
    inverters = {"perfect": perfect} | {name: tiny_inverters[name] for name in ("standard", "robust")}
    found = list(quality.run(quality.Config(metrics=(), draws=2), Evidence(tiny_scenes, inverters)))
    same, different = (text for text in _texts(found) if text.startswith("Against"))
    assert "logit cosine" in same
    assert "no common measure" not in same
    common, apart = different.split(" By the logits of each one's own classifier, which is no common measure, it is ")
    assert common.startswith("Against robust, perfect is better in pixel error")
    assert "logit cosine" not in common
    assert "logit cosine" in apart
    assert "pixel error" not in apart


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
    assert "4 of the same true class" in _texts(found)[1]
    assert "ceiling is 2 bits" in _texts(found)[1]
    lineups = identify._classes(identify.Config(), evidence)
    assert torch.equal(lineups[0], evidence.labels)
    of_first, whose = identify._classes(identify.Config(classes="predicted"), evidence)
    assert torch.equal(of_first, predicted[0])
    assert whose == "class predicted by the classifier of standard"


def test_out_of_distribution_the_one_that_loses_more_can_still_be_the_better_one(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter], images: Tensor
) -> None:
    """The gap is relative to each inverter's usual images; which inverter is better is a question of its own."""
    elsewhere = open_images("scenes:test,count=100,seed=5")
    away = Evidence(elsewhere, tiny_inverters).originals[:]
    known = torch.cat([images, away])
    at_home = torch.arange(len(known)) < len(images)
    inverters: dict[str, Inverter] = {
        "specialist": ByDirection(tiny_inverters["standard"], known, faded=(~at_home).float() * 0.3),
        "mediocre": ByDirection(tiny_inverters["standard"], known, faded=torch.full((len(known),), 0.8)),
    }
    evidence = Evidence(tiny_scenes, inverters, others={"elsewhere": elsewhere})
    found = list(out_of_distribution.run(out_of_distribution.Config(num_images=100), evidence))
    specialist, mediocre, paired = _texts(found)
    assert "worse in" in specialist
    assert "pixel error" in specialist.split("worse in ")[1].split(", not")[0]
    assert "pixel error" in mediocre.split("not significantly different in ")[1]
    assert paired.startswith("specialist less mediocre, paired: ")
    values = {(r.metric, r.inverter): r.estimate for r in found if isinstance(r, Record)}
    assert values["gap_pixel_error_elsewhere", "specialist"].low > 0
    assert values["pixel_error_elsewhere_less_mediocre", "specialist"].high < 0
    assert _rows(found, "pairs-0")["specialist − mediocre", "pixel error, elsewhere"] == "differs significantly"


@pytest.mark.parametrize(
    ("faded", "pixel_error"),
    [
        (0.0, "inconclusive (p 1.000)"),
        (0.2, "differs significantly, but equivalent within ±0.005 (p < 0.001)"),
        (0.8, "differs significantly (p < 0.001)"),
    ],
)
def test_mistakes_are_equivalent_within_the_margin_alone(
    tiny_scenes: ImageSource,
    tiny_inverters: dict[str, Inverter],
    images: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    faded: float,
    pixel_error: str,
) -> None:
    """Images of one half count as mistakes and are faded by a known share: by none, within the margin, beyond it."""
    wrong = torch.arange(len(images)) % 2 == 0
    monkeypatch.setattr(mistakes, "_wrong", lambda *_: wrong)
    inverter = ByDirection(tiny_inverters["standard"], images, faded=wrong.float() * faded)
    found = list(mistakes.run(mistakes.Config(), Evidence(tiny_scenes, {"a": inverter})))
    table = next(r for r in found if isinstance(r, Table) and r.name == "verdicts")
    (row,) = table.rows
    verdicts = dict(zip([c.title for c in table.columns], row, strict=True))
    # Of images that never differ, 100 show a cosine to be within 0.05, and are too few for an error within 0.005.
    assert verdicts["pixel error"] == pixel_error
    if not faded:
        assert verdicts["layout cosine"] == "equivalent within ±0.05 (p 1.000)"


def test_an_attack_that_costs_nothing_is_equivalent_and_one_that_costs_is_not(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter], perfect: Inverter, images: Tensor
) -> None:
    like = tiny_inverters["standard"]
    inverters: dict[str, Inverter] = {"grey": ByDirection(like, images, faded=torch.ones(len(images)))}
    config = adversarial.Config(num_images=len(images), pgd_steps=3)
    found = list(adversarial.run(config, Evidence(tiny_scenes, inverters)))
    table = next(r for r in found if isinstance(r, Table) and r.name == "adversarial")
    place = [c.title for c in table.columns].index("verdict on layout")
    assert {row[place] for row in table.rows} == {"equivalent within ±0.05 (p 1.000)"}
    found = list(adversarial.run(config, Evidence(tiny_scenes, {"perfect": perfect})))
    table = next(r for r in found if isinstance(r, Table) and r.name == "adversarial")
    assert {row[place] for row in table.rows} == {"differs significantly (p < 0.001)"}


def test_noise_beside_the_representation_in_the_first_layer_is_no_test(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]
) -> None:
    conditioned = copy.copy(tiny_inverters["robust"])
    conditioned.deviations = ("warm start", FIRST_LAYER)
    evidence = Evidence(tiny_scenes, {"standard": tiny_inverters["standard"], "robust": conditioned}, limit=20)
    found = list(noise.run(noise.Config(draws=2, num_images=20, shown=2, shown_draws=2), evidence))
    (text,) = (t for t in _texts(found) if t.startswith("Not a test"))
    assert "for robust: unlike in the paper" in text
    alone = Evidence(tiny_scenes, {"standard": tiny_inverters["standard"]}, limit=20)
    found = list(noise.run(noise.Config(draws=2, num_images=20, shown=2, shown_draws=2), alone))
    assert not any(t.startswith("Not a test") for t in _texts(found))


def test_octaves_are_corrected_as_one_family() -> None:
    """Of eight sets of spectra of one distribution, some intervals exclude 0, and no verdict says so."""
    generator = torch.Generator().manual_seed(0)
    spectra = {str(k): (torch.randn(80, 1, 1, generator=generator) + torch.zeros(80, 32, 17)).exp() for k in range(8)}
    found = list(spectrum._compare(spectra, 0))
    assert "corrected for all tests of the table (Holm)" in next(r.caption for r in found if isinstance(r, Table))
    estimates = [r.estimate for r in found if isinstance(r, Record)]
    assert any(e.low > 0 or e.high < 0 for e in estimates)
    assert set(_rows(found, "pairs").values()) == {"not significant"}


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
