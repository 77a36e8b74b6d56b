"""Figure 7 of the paper: reconstructions of adversarial images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._evidence import Images, Reconstructed
from unlogit.analyses._fidelity import Margins, MetricInfo, ReferenceStatistics
from unlogit.analyses._paired import EQUIVALENCE, FAMILY, format_difference, format_p, pair_tests, report_pairs
from unlogit.attacks import fgsm, pgd
from unlogit.classifiers import Classifier
from unlogit.drawing import Block, colour, sheet, style
from unlogit.errors import UnlogitError
from unlogit.images import to_bytes
from unlogit.metrics.pixel import pixel_error
from unlogit.settings import Bounds, Count, Several
from unlogit.statistics import Difference, Estimate, bootstrap, correct_family, paired_tests, wilson

TITLE = "Adversarial images"
QUESTION = "What does an inverter reconstruct from an adversarial image?"

BATCH = 32
"""Images per batch of an attack, whose gradients take memory."""
COLUMNS = (
    Column("inverter"),
    Column("attack"),
    Column("label changed", None, "share of images whose predicted class the attack changes"),
    Column("has the new class", None, "of those: share of reconstructions with the class predicted after the attack"),
    Column("has the old class", None, "of the same: share with the class predicted before the attack"),
    Column("moved", None, "root mean squared pixel difference that the attack makes to the reconstruction"),
    Column("moved, the image itself", None, "the same that the attack makes to the image"),
    Column("layout lost", None, "layout cosine to the image before the attack, before the attack less after it"),
    Column("verdict on layout"),
    Column("pixel error gained", None, "to the image before the attack, after the attack less before it"),
    Column("verdict on pixel error"),
)
COSTS = (
    MetricInfo("layout_lost", "layout lost", "lower", "layout cosine before the attack less after it"),
    MetricInfo("pixel_error_gained", "pixel error gained", "lower", "after the attack less before it"),
)
"""Costs of an attack; equivalence to no cost is tested."""
SHARES = ("label_changed", "paints_new", "paints_old")


UNIT = "pixels are from 0 to 1, and 8/255 is 0.0314"


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Options of the attacks, which are bounded in maximum norm."""

    epsilons: tuple[Annotated[float, Bounds(0, 1, above=True, hint=UNIT)], ...] = (0.1,)
    """L-inf radii of the attacks, for pixels in [0, 1]; the paper's is 0.1."""
    pgd_steps: Count = 10
    """Number of PGD steps."""
    num_images: Several = 128
    """Number of images attacked."""
    shown: Count = 4
    """Number of images shown."""
    margins: Margins = field(default_factory=Margins)
    """Equivalence margins: smaller costs count as none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.epsilons:
            raise UnlogitError(f"adversarial.epsilons: must be one or more; {UNIT}")


@dataclass(frozen=True)
class Attacked:
    """Images and their reconstructions before and after one attack."""

    clean: Images
    images: Images
    before: Reconstructed
    after: Reconstructed


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield images per classifier and what each attack changes; every classifier is attacked on the same images."""
    which = evidence.sample(config.num_images, evidence.seed)
    measured: dict[tuple[str, str, float], dict[str, Estimate | None]] = {}
    costs: dict[tuple[str, str, float], dict[str, Tensor]] = {}
    for first, sharing in evidence.classifiers().items():
        results = _attack(config, evidence, first, sharing, which)
        yield _figure(config, evidence, first, sharing, results)
        for (attack, epsilon, name), attacked in results.items():
            measured[name, attack, epsilon] = _measure(evidence, attacked)
            costs[name, attack, epsilon] = _costs(evidence, name, attacked)
    tested = {(key, m): cost for key, each in costs.items() for m, cost in each.items()}
    margin = {"layout_lost": config.margins.cosine, "pixel_error_gained": config.margins.pixel_error}
    tests = correct_family(paired_tests(tested, evidence.seed, {(key, m): margin[m] for key, m in tested}))
    rows: list[tuple[Cell, ...]] = []
    for (name, attack, epsilon), each in measured.items():
        cost = {m.name: tests[(name, attack, epsilon), m.name] for m in COSTS}
        cells = [cell for d in cost.values() for cell in (d.estimate, f"{d.verdict} (p {format_p(d.p)})")]
        rows.append((name, _called(attack, epsilon), *each.values(), *cells))
        yield Finding(_described(name, attack, epsilon, each, cost))
    caption = (
        f"{len(which)} images, each attacked away from the class that the inverter's own classifier predicts for it; "
        f"the noise is the same before and after. PGD takes {config.pgd_steps} steps. With 95 % CIs. "
        f"{FAMILY}{EQUIVALENCE}."
    )
    yield Table("adversarial", "What an attack changes", caption, COLUMNS, tuple(rows))
    for (name, attack, epsilon), each in measured.items():
        estimates = each | {m.name: tests[(name, attack, epsilon), m.name].estimate for m in COSTS}
        for key, e in estimates.items():
            if e is not None:
                yield Record(f"{attack}_{epsilon:g}_{key}", name, e, "share" if key in SHARES else "", None)
    yield from _compare(evidence, costs, len(which))


def _compare(evidence: Evidence, costs: dict[tuple[str, str, float], dict[str, Tensor]], n: int) -> Iterator[Result]:
    """Yield comparisons of inverters by the costs of the same attack, each on its own classifier."""
    metrics = []
    tests: dict[tuple[str, str, str], Difference] = {}
    for attack, epsilon in dict.fromkeys((attack, epsilon) for _, attack, epsilon in costs):
        values = {name: each for (name, *kind), each in costs.items() if kind == [attack, epsilon]}
        for m in COSTS:
            metrics.append(m.named(f"{attack}_{epsilon:g}_{m.name}", f"{m.title}, {_called(attack, epsilon)}"))
        for (a, b, m_name), test in pair_tests(COSTS, values, evidence.seed).items():
            tests[a, b, f"{attack}_{epsilon:g}_{m_name}"] = test
    what = f"The first inverter less the second, on the same {n:,} images, each attacked for its own classifier."
    yield from report_pairs(metrics, tests, what)


def _attack(
    config: Config, evidence: Evidence, first: str, sharing: list[str], which: Tensor
) -> dict[tuple[str, float, str], Attacked]:
    """Return results by attack, radius and inverter, for the inverters that share the classifier of `first`."""
    classifier = evidence.inverters[first].representation.classifier
    clean = Images(evidence.originals.bytes[which])
    predicted = evidence.encoded(first).logits[which].argmax(1)
    generator = torch.Generator(classifier.mean.device).manual_seed(evidence.seed)
    before = {
        name: Reconstructed(
            Images(evidence.reconstructed(name).images.bytes[which]),
            evidence.reconstructed(name).logits[which],
            evidence.reconstructed(name).reencoded[which],
        )
        for name in sharing
    }
    results = {}
    for epsilon in config.epsilons:
        attacks = {"fgsm": fgsm, "pgd": partial(pgd, steps=config.pgd_steps, generator=generator)}
        for attack, method in attacks.items():
            images = _apply(method, classifier, clean, predicted, epsilon)
            for name in sharing:
                after = evidence.ask(name, images, evidence.noise_at(name, which))
                results[attack, epsilon, name] = Attacked(clean, images, before[name], after)
    return results


def _apply(method: object, classifier: Classifier, clean: Images, labels: Tensor, epsilon: float) -> Images:
    device = classifier.mean.device
    parts = zip(torch.arange(len(clean)).split(BATCH), labels.split(BATCH), strict=True)
    attacked = [method(classifier, clean[indices].to(device), y.to(device), epsilon).cpu() for indices, y in parts]  # type: ignore[operator]
    # Round to bytes, as in a saved image, which changes a pixel by at most half a level.
    return Images.of([to_bytes(images) for images in attacked])


def _measure(evidence: Evidence, a: Attacked) -> dict[str, Estimate | None]:
    """Return in the order of `COLUMNS` what the attack changes; None where no label changed."""
    old, new = a.before.logits.argmax(1), a.after.logits.argmax(1)
    painted = a.after.reencoded.argmax(1)
    changed = new != old
    count = int(changed.sum())

    def moved(x: Images, y: Images) -> Estimate:
        return bootstrap(pixel_error(x[:], y[:]).sqrt(), evidence.seed)

    return {
        "label_changed": wilson(count, len(changed)),
        "paints_new": wilson(int((painted == new)[changed].sum()), count) if count else None,
        "paints_old": wilson(int((painted == old)[changed].sum()), count) if count else None,
        "moved": moved(a.before.images, a.after.images),
        "moved_image": moved(a.clean, a.images),
    }


def _costs(evidence: Evidence, name: str, a: Attacked) -> dict[str, Tensor]:
    """Return by the names of `COSTS` one value per image, N."""
    statistics = ReferenceStatistics.of(evidence, name)
    before, after = statistics(a.clean, a.before), statistics(a.clean, a.after)
    return {
        "layout_lost": before["layout_cosine"] - after["layout_cosine"],
        "pixel_error_gained": after["pixel_error"] - before["pixel_error"],
    }


def _figure(
    config: Config, evidence: Evidence, first: str, sharing: list[str], results: dict[tuple[str, float, str], Attacked]
) -> Figure:
    """Return the figure of one classifier, a row per image: before the attacks and after each."""
    index = list(evidence.inverters).index(first)
    some = results[next(iter(results))]
    blocks = []
    kinds = list(dict.fromkeys((attack, epsilon) for attack, epsilon, _ in results))
    for title, seen in (("unchanged", None), *((_called(*kind), kind) for kind in kinds)):
        images = some.clean if seen is None else results[(*seen, first)].images
        columns = {"image": images.bytes}
        for name in sharing:
            columns[name] = (
                results[(*kinds[0], name)].before if seen is None else results[(*seen, name)].after
            ).images.bytes
        shown = torch.stack([column[: config.shown] for column in columns.values()], 1)
        blocks.append(Block(title, colour(index), tuple(columns), shown))
    spec = evidence.inverters[first].representation.classifier.spec
    caption = f"{len(shown)} of the images, drawn at random; {spec} is attacked, and its inverters read its outputs."
    with style():
        return Figure(f"images-{index}", f"Attacks on the classifier of {first}", caption, sheet(blocks))


def _called(attack: str, epsilon: float) -> str:
    return f"{attack.upper()}, ε = {epsilon:g}"


def _described(
    name: str, attack: str, epsilon: float, m: dict[str, Estimate | None], cost: dict[str, Difference]
) -> str:
    changed, moved, image = m["label_changed"], m["moved"], m["moved_image"]
    assert changed is not None and moved is not None and image is not None
    text = f"{name}: {_called(attack, epsilon)} changes the predicted class of {100 * changed.value:.0f} % of images"
    if m["paints_new"] is not None and m["paints_old"] is not None:
        text += (
            f", whose reconstructions have the new class in {100 * m['paints_new'].value:.0f} % and the old one in "
            f"{100 * m['paints_old'].value:.0f} %"
        )
    parts = [
        f"{metric.title} {format_difference(d)}" for metric, d in ((metric, cost[metric.name]) for metric in COSTS)
    ]
    return (
        f"{text}. It moves images by {image.value:.3f} and reconstructions by {moved.value:.3f} (RMS of pixels); "
        f"{'; '.join(parts)}."
    )
