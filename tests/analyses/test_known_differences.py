"""Analyses on planted values: small paired differences, hidden by the spread of images, and none where none is."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from unlogit.analyses import Evidence, Result, Table, brightness, compare, fixed_point, noise, spread
from unlogit.analyses._factors import Reading
from unlogit.analyses._fidelity import MetricInfo
from unlogit.analyses._paths import report_paths
from unlogit.analyses.compare import Contrast
from unlogit.images import ImageSource
from unlogit.methods import Inverter
from unlogit.metrics.embedding import Pixels
from unlogit.statistics import bootstrap, jackknife_test

DIFFERS, NOTHING = "differs significantly", "not significant"


@pytest.fixture
def evidence(tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]) -> Evidence:
    return Evidence(tiny_scenes, {name: tiny_inverters[name] for name in ("standard", "robust")})


def verdicts(results: Iterable[Result], name: str = "pairs") -> dict[str, str]:
    """Return the verdicts of a table of two inverters by measure."""
    table = next(r for r in results if isinstance(r, Table) and r.name == name)
    return {str(row[1]): str(row[-1]) for row in table.rows}


def overlap(a: Tensor, b: Tensor) -> bool:
    """Return whether the two separate intervals overlap."""
    one, other = bootstrap(a), bootstrap(b)
    return one.low < other.high and other.low < one.high


@pytest.mark.parametrize(("tighter", "verdict"), [(0.97, DIFFERS), (1.0, NOTHING)])
def test_classes_that_are_grouped_a_little_more_tightly(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, tighter: float, verdict: str
) -> None:
    generator, labels = torch.Generator().manual_seed(0), evidence.labels
    centres = torch.randn(int(labels.max()) + 1, 24, generator=generator)
    # Images of one class lie at very different distances from its centre.
    away = torch.randn(len(labels), 24, generator=generator) * (0.2 + torch.rand(len(labels), 1, generator=generator))
    moved = 0.01 * torch.randn(len(labels), 24, generator=generator)
    planted = {"standard": centres[labels] + tighter * away, "robust": centres[labels] + away + moved}
    monkeypatch.setattr(Evidence, "raw", lambda _, name: planted[name])
    assert overlap(*(spread.spread(raw, labels).ratio for raw in planted.values()))
    assert verdicts(spread.run(spread.Config(), evidence)) == {"within over between classes": verdict}


def test_spreads_of_classes_that_do_not_differ_are_called_different_in_one_of_twenty() -> None:
    """Images of one class share its mean, so that a test over images would reject far more often."""
    generator, labels = torch.Generator().manual_seed(0), torch.arange(12).repeat_interleave(20)
    rejected = {"classes": 0, "images": 0}
    for _ in range(150):
        one, other = (
            spread.spread(
                torch.randn(12, 20, generator=generator)[labels]
                + (0.5 + torch.rand(12, 1, generator=generator))[labels] * torch.randn(240, 20, generator=generator),
                labels,
            )
            for _ in range(2)
        )
        difference = one.ratio - other.ratio
        d = jackknife_test(float(difference.mean()), one.left_out["ratio"] - other.left_out["ratio"], 240)
        rejected["classes"] += d.significant
        rejected["images"] += abs(float(difference.mean() / difference.std())) * 240**0.5 > 2
    assert rejected["classes"] <= 0.09 * 150
    assert rejected["images"] > 0.3 * 150


def test_a_shift_of_the_logits_at_both_ends_of_the_brightness(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half and double the brightness shift the logits alike, for one classifier a little more than for the other."""
    generator, n = torch.Generator().manual_seed(0), len(evidence)
    of_image = torch.rand(n, generator=generator)
    config = brightness.Config(factors=(0.5, 1.0, 2.0), num_images=n)

    def answers(_: Evidence, name: str, *__: object) -> dict[tuple[str, str], list[Tensor]]:
        more = 0.02 if name == "standard" else 0.0
        shift = [of_image + more + 0.01 * torch.randn(n, generator=generator) for _ in range(2)]
        nothing = 0.01 * torch.randn(n, generator=generator)
        values = {(c, "shift"): [nothing] * 3 for c in brightness.CHANGES}
        values["brightness", "shift"] = [shift[0], torch.zeros(n), shift[1]]
        return {
            **values,
            **{(c, "scale"): [torch.ones(n)] * 3 for c in brightness.CHANGES},
            **{(c, "direction"): [torch.ones(n)] * 3 for c in brightness.CHANGES},
        }

    monkeypatch.setattr(brightness, "_answers", answers)
    found = list(brightness.run(config, evidence))
    table = next(r for r in found if isinstance(r, Table) and r.name == "changes")
    shifts = {(row[0], row[1]): str(row[3]) for row in table.rows}
    for name in ("standard", "robust"):
        for factor in ("0.5", "2"):
            assert shifts[name, f"brightness × {factor}"].startswith(DIFFERS)
            assert shifts[name, f"sharpness × {factor}"].startswith(NOTHING)
    assert overlap(of_image, of_image + 0.02)
    pairs = verdicts(found)
    assert {pairs[f"shift by brightness × {factor}"] for factor in ("0.5", "2")} == {DIFFERS}
    assert {v for measure, v in pairs.items() if "shift by brightness" not in measure} == {NOTHING}


def test_noise_that_moves_one_inverter_s_images_a_little_more(evidence: Evidence) -> None:
    generator, n = torch.Generator().manual_seed(0), 100
    content = 0.3 + 0.4 * torch.rand(n, 3, 8, 8, generator=generator)
    amount = torch.rand(n, 1, 1, 1, generator=generator)  # Noise moves some images far more than others.
    steps = [2 * torch.rand(n, 3, 8, 8, generator=generator) - 1 for _ in range(4)]

    def moved(amount: Tensor) -> dict[str, noise.Moved]:
        draws = [content + 0.1 * amount * step for step in steps]
        return {"pixels": noise._moved(Pixels(), [_Plain(d) for d in draws], 0)}  # type: ignore[list-item]

    inverters = {"standard": moved(1.05 * amount), "robust": moved(amount), "alike": moved(amount.roll(1, 0))}
    diversities = {name: each["pixels"].diversity for name, each in inverters.items()}
    assert overlap(diversities["standard"], diversities["robust"])
    found = list(noise._compare(evidence, inverters, n, ""))
    table = next(r for r in found if isinstance(r, Table))
    by = {(row[0], row[1]): row[-1] for row in table.rows}
    assert {by["standard − robust", f"{m}, pixels"] for m in ("diversity", "moved by noise")} == {DIFFERS}
    assert {by["robust − alike", f"{m}, pixels"] for m in ("diversity", "moved by noise")} == {NOTHING}


class _Plain:
    """Images that are not stored as bytes, so that small differences are kept."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def chunks(self) -> Iterable[Tensor]:
        return [self.images]


def test_paths_that_are_a_little_longer(evidence: Evidence) -> None:
    """All paths are straight with even steps; one inverter's are longer by 3 %, far less than paths differ."""
    generator, n = torch.Generator().manual_seed(0), 100
    start = 0.4 + 0.2 * torch.rand(n, 3, 8, 8, generator=generator)
    way = (0.6 * torch.rand(n, 3, 8, 8, generator=generator) - 0.3) * torch.rand(n, 1, 1, 1, generator=generator)
    points = {
        name: [_Plain(start + t * longer * way) for t in (0.0, 0.5, 1.0)]
        for name, longer in (("standard", 1.03), ("robust", 1.0))
    }
    lengths = [longer * way.square().mean((1, 2, 3)).sqrt() for longer in (1.03, 1.0)]
    assert overlap(*lengths)
    found = list(report_paths(evidence, points, (0.0, 0.5, 1.0), "path", "way"))  # type: ignore[arg-type]
    assert verdicts(found) == {"length": DIFFERS, "detour": NOTHING, "largest step": NOTHING}


def test_what_is_left_after_rounds_is_compared_image_by_image(evidence: Evidence) -> None:
    generator, n = torch.Generator().manual_seed(0), 100
    layout = torch.rand(n, generator=generator)

    def walk(more: float) -> fixed_point.Walk:
        last = layout + more + 0.01 * torch.randn(n, generator=generator)
        values = {"step": torch.zeros(2, n), "kept": torch.ones(2, n), "stayed": torch.ones(2, n)}
        return fixed_point.Walk([], values | {"layout": torch.stack([last + 0.1, last])}, torch.zeros(n))

    walks = {"standard": walk(0.02), "robust": walk(0.0)}
    assert overlap(*(each.values["layout"][-1] for each in walks.values()))
    found = verdicts(fixed_point._numbers(fixed_point.Config(rounds=2), evidence, walks))
    assert found == {"class kept": NOTHING, "layout cosine": DIFFERS, "layout lost since round 1": NOTHING}


def test_of_how_many_images_one_keeps_more_is_tested_against_one_half(evidence: Evidence) -> None:
    generator, n = torch.Generator().manual_seed(0), 400
    metrics = tuple(MetricInfo(name, name, "higher", "") for name in ("more", "alike"))
    gains = {"more": torch.randn(n, generator=generator) + 0.3, "alike": torch.randn(n, generator=generator)}
    contrast = Contrast("standard", "robust", metrics, gains, {m: (g, torch.zeros(n)) for m, g in gains.items()})
    table = next(r for r in compare._shares(evidence, contrast) if isinstance(r, Table))
    found = {str(row[0]): row[-1] for row in table.rows}
    assert (found["more"], found["alike"]) == (DIFFERS, NOTHING)


def test_a_factor_that_one_representation_keeps_a_little_better() -> None:
    generator, n = torch.Generator().manual_seed(0), 400
    true = torch.randn(n, 1, generator=generator).double()
    error = torch.randn(n, 1, generator=generator).double()
    nothing = torch.zeros(n, 1).double()
    better, worse, alike = (
        Reading(true + scale * error + own * torch.randn(n, 1, generator=generator), true, nothing, None)
        for scale, own in ((0.65, 0.0), (0.70, 0.0), (0.70, 0.01))
    )
    one, other = better.explained(0), worse.explained(0)
    assert other.high > one.low
    assert better.explained_more(worse, 0).verdict == DIFFERS
    assert worse.explained_more(alike, 0).verdict == NOTHING
