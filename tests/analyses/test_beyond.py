"""The analyses beyond the paper say what is known of inverters whose answers are known."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor

from unlogit.analyses import (
    Evidence,
    Figure,
    Finding,
    Images,
    Record,
    Result,
    Table,
    adversarial,
    compare,
    fixed_point,
    identify,
    mistakes,
    out_of_distribution,
)
from unlogit.analyses._fidelity import (
    MetricInfo,
    ReferenceStatistics,
    difference,
    fidelity,
    listed,
    matched_difference,
    verdict,
)
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, open_images
from unlogit.methods import Inverter
from unlogit.statistics import Difference, Estimate


class Grey(Inverter):
    """Gives the same grey for everything."""

    def __init__(self, like: Inverter) -> None:
        super().__init__()
        self.name, self.representation, self.size = "grey", like.representation, like.size

    def invert(self, raw: Tensor, noise: Tensor | None = None) -> Tensor:
        return torch.full((len(raw), 3, self.size, self.size), 0.5)


@pytest.fixture(scope="module")
def known(tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter], perfect: Inverter) -> Evidence:
    """One that gives everything back, one of the same classifier that gives nothing, one of another classifier."""
    standard, robust = tiny_inverters["standard"], tiny_inverters["robust"]
    return Evidence(tiny_scenes, {"perfect": perfect, "grey": Grey(standard), "robust": robust})


def results(module: ModuleType, evidence: Evidence, **options: object) -> list[Result]:
    return list(module.run(module.Config(**options), evidence))


def numbers(found: list[Result]) -> dict[tuple[str, str], Estimate]:
    return {(r.metric, r.inverter): r.estimate for r in found if isinstance(r, Record)}


def findings(found: list[Result]) -> list[str]:
    return [r.text for r in found if isinstance(r, Finding)]


def test_identification_is_certain_of_the_perfect_and_lost_with_the_grey(known: Evidence) -> None:
    found = results(identify, known, among=8, among_class=4)
    values = numbers(found)
    for kind, cap in (("any", 3), ("class", 2)):
        assert values[f"identified_{kind}_pixels", "perfect"].value == 1
        assert values[f"bits_{kind}_together", "perfect"].value == pytest.approx(cap, abs=0.02)
        assert values[f"bits_{kind}_together", "perfect"].high <= cap
        assert values[f"bits_{kind}_together", "grey"].value == pytest.approx(0, abs=0.05)
        # The originals' brightness orders them the same way for every grey, so that one is always named.
        assert values[f"identified_{kind}_pixels", "grey"].value == pytest.approx(2.0**-cap, abs=0.02)
    assert values["label_bits", "grey"].value == 0
    assert values["label_bits", "perfect"].value > 0
    of_any_class, of_the_same = findings(found)[:2]
    assert "Among 8 of any class" in of_any_class and "Among 4 of the same true class" in of_the_same
    for finding, bits in ((of_any_class, "3.00"), (of_the_same, "2.00")):
        perfect, grey = finding.split(";")[:2]
        assert f"for perfect, which proves at least {bits} bits" in perfect
        assert "for grey, which proves no bits for certain" in grey


def test_few_lineups_are_stated_once_and_allow_no_verdict(known: Evidence) -> None:
    found = results(identify, known, among=len(known) // 2, among_class=len(known))
    figure = next(r for r in found if isinstance(r, Figure))
    assert figure.caption.count("too few for a statement about bits") == 1
    assert not any("bits" in finding for finding in findings(found) if finding.startswith("Among"))


def test_identification_leaves_out_classes_that_fill_no_lineups(known: Evidence) -> None:
    found = results(identify, known, among=8, among_class=60)
    assert not any("class_" in name for name, _ in numbers(found))
    figure = next(r for r in found if isinstance(r, Figure))
    assert "give more images" in figure.caption
    with pytest.raises(UnlogitError, match="at least 2"):
        identify.Config(among=1)


def test_matching_by_class_takes_out_what_is_the_class_s_doing() -> None:
    classes = torch.tensor([0] * 50 + [1] * 50 + [2] * 20)
    marked = torch.zeros(120, dtype=torch.bool)
    marked[:40] = marked[95:100] = True  # Class 2 has none.
    # The class decides nearly all; being marked adds 0.1.
    values = classes.float() * 10 + 0.1 * marked.float()
    e = matched_difference(values, marked, classes, 0).estimate
    assert e.value == pytest.approx(0.1, abs=1e-5)
    assert e.low == pytest.approx(0.1, abs=1e-5)
    assert e.n == 100
    assert difference(values[marked], values[~marked], 0).estimate.value < -5
    # What is within the margin is equivalent, however sure the difference is.
    assert (
        matched_difference(values, marked, classes, 0, 0.5).verdict
        == "differs significantly, but equivalent within ±0.5"
    )
    noisy = values + torch.randn(120, generator=torch.Generator().manual_seed(0))
    assert matched_difference(noisy, marked, classes, 0, 0.05).verdict == "inconclusive"


def test_mistakes_are_those_of_the_classifier(known: Evidence) -> None:
    found = results(mistakes, known, shown=2)
    wrong = known.encoded("perfect").logits.argmax(1) != known.labels
    share = numbers(found)["wrong", "perfect"]
    assert share.value == pytest.approx(float(wrong.float().mean()))
    assert numbers(found)["mistakes_pixel_error", "perfect"].value == pytest.approx(0, abs=1e-6)
    # One figure a classifier.
    assert len([r for r in found if isinstance(r, Figure)]) == 2
    assert "takes" in next(r.caption for r in found if isinstance(r, Figure))


def test_mistakes_have_nothing_to_say_of_other_labels(known: Evidence) -> None:
    source = open_images("scenes:test,count=60")
    source.class_names = tuple(f"something {i}" for i in range(10))
    assert not results(mistakes, Evidence(source, known.inverters))
    told = numbers(results(mistakes, Evidence(source, known.inverters, logits_of=torch.arange(10).roll(1))))
    assert told["wrong", "perfect"].value > 0.5
    right = numbers(results(mistakes, Evidence(source, known.inverters, logits_of=torch.arange(10))))
    assert (
        right["wrong", "perfect"]
        == numbers(results(mistakes, Evidence(known.source, known.inverters, limit=60)))["wrong", "perfect"]
    )


def test_adversarial_images_are_within_epsilon_and_fool_the_classifier(known: Evidence) -> None:
    config = adversarial.Config(epsilons=(0.1,), num_images=24, pgd_steps=5)
    which = known.sample(24, known.seed)
    attacked = adversarial._attack(config, known, "perfect", ["perfect", "grey"], which)
    assert set(attacked) == {(a, 0.1, n) for a in ("fgsm", "pgd") for n in ("perfect", "grey")}
    for a in attacked.values():
        moved = (a.images[:] - a.clean[:]).abs().max()
        assert 0.05 < moved < 0.1 + 1 / 255
    found = list(adversarial.run(config, known))
    values = numbers(found)
    assert values["pgd_0.1_label_changed", "perfect"].value > 0.5
    assert values["pgd_0.1_moved", "grey"].value == 0
    assert values["pgd_0.1_moved", "perfect"].value > 0
    assert values["pgd_0.1_layout_lost", "perfect"].value > 0
    table = next(r for r in found if isinstance(r, Table))
    assert [row[:2] for row in table.rows][:2] == [("perfect", "FGSM, ε = 0.1"), ("grey", "FGSM, ε = 0.1")]
    verdicts = {row[:2]: row[8] for row in table.rows}
    # What never changes is the same for a grey, but 24 images cannot show it.
    assert verdicts["grey", "FGSM, ε = 0.1"] == "inconclusive (p 1.000)"
    assert "differs significantly" in str(verdicts["perfect", "PGD, ε = 0.1"])
    # Of two classifiers, the costs are compared on the same images.
    assert ("pgd_0.1_layout_lost_less_robust", "perfect") in values
    with pytest.raises(UnlogitError, match="from 0 to 1"):
        adversarial.Config(epsilons=(8.0,))


def test_other_images_are_measured_by_the_usual_ones(known: Evidence) -> None:
    assert not results(out_of_distribution, known)
    others = {"more": open_images("scenes:test,count=40,seed=5"), "training": open_images("scenes:count=40")}
    evidence = Evidence(known.source, known.inverters, others=others)
    other = Evidence(others["more"], known.inverters, limit=30)
    found = results(out_of_distribution, evidence, num_images=30, shown=3)
    assert len([r for r in found if isinstance(r, Figure)]) == 2
    assert [r.name for r in found if isinstance(r, Table)] == ["gap-0", "pairs-0", "gap-1", "pairs-1"]
    # Looked up are the held-out images alone.
    gap = numbers(found)["gap_pixel_error_more", "perfect"]
    assert gap.low > 0
    assert gap.n == 30
    assert numbers(found)["gap_logit_cosine_more", "robust"].low < 0.2
    assert "worse in" in findings(found)[0]
    # Beside the gap stands who is better there, on the same images.
    compared = numbers(found)["pixel_error_more_less_robust", "perfect"]
    assert compared.n == 30
    assert compared.value == pytest.approx(
        float((fidelity(other, "perfect")["pixel_error"] - fidelity(other, "robust")["pixel_error"]).mean())
    )


def test_what_is_perfect_or_constant_stands_still(known: Evidence) -> None:
    found = results(fixed_point, known, rounds=3, num_images=30, shown=2)
    values = numbers(found)
    assert values["settled", "perfect"].value == values["settled", "grey"].value == 1
    assert values["class_after_rounds", "perfect"].value == 1
    assert values["layout_after_rounds", "perfect"].value == pytest.approx(1, abs=1e-5)
    assert values["layout_lost_in_rounds", "grey"].value == pytest.approx(0, abs=1e-6)
    table = next(r for r in found if isinstance(r, Table))
    left = {row[0]: row[-1] for row in table.rows}
    assert left["grey"] == 1
    walk = fixed_point._walk(fixed_point.Config(rounds=2), known, "robust", torch.arange(20))
    assert torch.equal(walk.images[0].bytes, known.reconstructed("robust").images.bytes[:20])
    with pytest.raises(UnlogitError, match="at least 2"):
        fixed_point.Config(rounds=1)


def test_the_comparison_is_of_classifiers(known: Evidence) -> None:
    found = results(compare, known, shown=3)
    values = numbers(found)
    # The grey one has the first's classifier and is no rival.
    assert {inverter for _, inverter in values} == {"perfect"}
    assert values["keeps_more_than_robust", "perfect"].value == 1
    ranking = next(r for r in found if isinstance(r, Table) and r.name.startswith("ranking"))
    assert len(ranking.rows) == 6
    gains = [row[2] for row in ranking.rows]
    assert gains == sorted(gains, reverse=True)
    alone = Evidence(known.source, {n: known.inverters[n] for n in ("perfect", "grey")})
    assert not results(compare, alone)


def test_correlation_is_pearsons() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, generator=generator).double()
    y = 0.5 * x + torch.randn(300, generator=generator).double()
    e = compare._correlation(x, y, 0)
    assert e.value == pytest.approx(float(torch.corrcoef(torch.stack([x, y]))[0, 1]))
    assert e.low < 0.45 < e.high


def test_asking_anew_gives_what_the_evidence_has(known: Evidence) -> None:
    which = torch.tensor([70, 3, 99])
    images = Images(known.originals.bytes[which])
    asked = known.ask("robust", images, known.noise_at("robust", which))
    kept = known.reconstructed("robust")
    assert (asked.images.bytes.int() - kept.images.bytes[which].int()).abs().max() <= 1
    assert torch.allclose(asked.logits, kept.logits[which], atol=1e-4)
    assert known.noise_at("grey", which) is None
    assert known.classifiers() == {"perfect": ["perfect", "grey"], "robust": ["robust"]}
    perceptual_network = ReferenceStatistics.of(known, "robust")
    assert torch.allclose(perceptual_network(known.originals, kept)["ssim"], fidelity(known, "robust")["ssim"])


def test_the_verdict_names_each_side() -> None:
    up = Difference(Estimate(0.2, 0.1, 0.3, 9), 0.01)
    down = Difference(Estimate(-0.2, -0.3, -0.1, 9), 0.01)
    # Its interval excludes 0, but not for as many tests as there were.
    chance = Difference(Estimate(0.2, 0.1, 0.3, 9), 0.08)
    metrics = tuple(MetricInfo(n, n, better, "") for n, better in (("a", "higher"), ("b", "lower"), ("c", "higher")))
    found = verdict(metrics, {"a": up, "b": up, "c": chance})
    assert found == "better in a, worse in b, not significantly different in c"
    assert verdict(metrics, dict.fromkeys("abc", down)) == "better in b, worse in a and c"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a"]) == "a"
