"""Figure 7 of the paper: pictures changed so that the classifier errs, and what is reconstructed of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Number, Result, Table
from unlogit.analyses._evidence import Pictures, Reconstructed
from unlogit.analyses._fidelity import Ruler
from unlogit.analyses._sheet import Block, sheet
from unlogit.analyses._style import colour, style
from unlogit.attacks import fgsm, pgd
from unlogit.classifiers import Classifier
from unlogit.errors import UnlogitError
from unlogit.intervals import Estimate, bootstrap, paired_bootstrap, wilson
from unlogit.metrics.pixel import pixel_error
from unlogit.settings import Bounds, Count, Several

TITLE = "Adversarial pictures"
PLACE = 55
QUESTION = "What does an inverter paint of a picture that was changed a little so that the classifier errs?"

BATCH = 32
"""Pictures attacked at a time: gradients take memory."""
COLUMNS = (
    Column("inverter"),
    Column("attack"),
    Column("label changed", None, "share of pictures whose predicted class the attack changes"),
    Column("paints the new class", None, "of those whose label changed: the reconstruction has the attack's class"),
    Column("paints the old class", None, "of the same: it has the class predicted for the picture before the attack"),
    Column("moved", None, "root mean squared pixel difference that the attack makes to the reconstruction"),
    Column("by the picture", None, "the same that the attack makes to the picture itself"),
    Column("layout lost", None, "layout cosine to the true picture before the attack less after it"),
    Column("pixel error gained", None, "to the true picture, after the attack less before it"),
)
SHARES = ("label_changed", "paints_new", "paints_old")


UNIT = "pixels are from 0 to 1, and 8/255 is 0.0314"


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Which attacks, under a maximum norm, on how many pictures."""

    epsilons: tuple[Annotated[float, Bounds(0, 1, above=True, hint=UNIT)], ...] = (0.1,)
    """Radii in the scale where pixels are in [0, 1]; the paper's is 0.1."""
    pgd_steps: Count = 10
    pictures: Several = 128
    shown: Count = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.epsilons:
            raise UnlogitError(f"adversarial.epsilons: must be one or more; {UNIT}")


@dataclass(frozen=True)
class Attacked:
    """What became of the same pictures under one attack: before and after it, and what was made of both."""

    clean: Pictures
    pictures: Pictures
    before: Reconstructed
    after: Reconstructed


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yields pictures a classifier, and what each attack changes; every classifier is attacked on the same pictures."""
    which = evidence.sample(config.pictures, evidence.seed)
    rows: list[tuple[Cell, ...]] = []
    told: list[Finding] = []
    numbers: list[Number] = []
    for first, sharing in evidence.classifiers().items():
        found = _attack(config, evidence, first, sharing, which)
        yield _figure(config, evidence, first, sharing, found)
        for (attack, epsilon, name), attacked in found.items():
            measured = _measure(evidence, name, attacked)
            rows.append((name, _called(attack, epsilon), *measured.values()))
            tag = f"{attack}_{epsilon:g}"
            numbers += [
                Number(f"{tag}_{key}", name, e, "share" if key in SHARES else "", None)
                for key, e in measured.items()
                if e is not None
            ]
            told.append(Finding(_told(name, attack, epsilon, measured)))
    caption = (
        f"{len(which)} pictures, each attacked away from the class that the inverter's own classifier predicts for it; "
        f"the noise is the same before and after. PGD takes {config.pgd_steps} steps. With 95 % intervals."
    )
    yield Table("adversarial", "What an attack changes", caption, COLUMNS, tuple(rows))
    yield from numbers
    yield from told


def _attack(
    config: Config, evidence: Evidence, first: str, sharing: list[str], which: Tensor
) -> dict[tuple[str, float, str], Attacked]:
    """By attack, radius and inverter, for the inverters that share the classifier of `first`."""
    classifier = evidence.inverters[first].representation.classifier
    clean = Pictures(evidence.originals.bytes[which])
    predicted = evidence.encoded(first).logits[which].argmax(1)
    generator = torch.Generator(classifier.mean.device).manual_seed(evidence.seed)
    before = {
        name: Reconstructed(
            Pictures(evidence.reconstructed(name).pictures.bytes[which]),
            evidence.reconstructed(name).logits[which],
            evidence.reconstructed(name).reencoded[which],
        )
        for name in sharing
    }
    found = {}
    for epsilon in config.epsilons:
        attacks = {"fgsm": fgsm, "pgd": partial(pgd, steps=config.pgd_steps, generator=generator)}
        for attack, method in attacks.items():
            pictures = _apply(method, classifier, clean, predicted, epsilon)
            for name in sharing:
                after = evidence.ask(name, pictures, evidence.noise_at(name, which))
                found[attack, epsilon, name] = Attacked(clean, pictures, before[name], after)
    return found


def _apply(method: object, classifier: Classifier, clean: Pictures, labels: Tensor, epsilon: float) -> Pictures:
    device = classifier.mean.device
    parts = zip(torch.arange(len(clean)).split(BATCH), labels.split(BATCH), strict=True)
    made = [method(classifier, clean[at].to(device), y.to(device), epsilon).cpu() for at, y in parts]  # type: ignore[operator]
    # As they could be saved. Rounding moves a pixel by at most half a level.
    return Pictures.of([(images * 255).round().byte() for images in made])


def _measure(evidence: Evidence, name: str, a: Attacked) -> dict[str, Estimate | None]:
    """In the order of `COLUMNS`; None where no label changed."""
    old, new = a.before.logits.argmax(1), a.after.logits.argmax(1)
    painted = a.after.reencoded.argmax(1)
    changed = new != old
    count = int(changed.sum())
    ruler = Ruler.of(evidence, name)
    true, false = ruler(a.clean, a.before), ruler(a.clean, a.after)

    def moved(x: Pictures, y: Pictures) -> Estimate:
        return bootstrap(pixel_error(x[:], y[:]).sqrt(), evidence.seed)

    return {
        "label_changed": wilson(count, len(changed)),
        "paints_new": wilson(int((painted == new)[changed].sum()), count) if count else None,
        "paints_old": wilson(int((painted == old)[changed].sum()), count) if count else None,
        "moved": moved(a.before.pictures, a.after.pictures),
        "moved_picture": moved(a.clean, a.pictures),
        "layout_lost": paired_bootstrap(true["layout_cosine"], false["layout_cosine"], evidence.seed),
        "pixel_error_gained": paired_bootstrap(false["pixel_error"], true["pixel_error"], evidence.seed),
    }


def _figure(
    config: Config, evidence: Evidence, first: str, sharing: list[str], found: dict[tuple[str, float, str], Attacked]
) -> Figure:
    """For one classifier, a row a picture: before the attacks and after each."""
    place = list(evidence.inverters).index(first)
    some = found[next(iter(found))]
    blocks = []
    kinds = list(dict.fromkeys((attack, epsilon) for attack, epsilon, _ in found))
    for title, seen in (("unchanged", None), *((_called(*kind), kind) for kind in kinds)):
        pictures = some.clean if seen is None else found[(*seen, first)].pictures
        columns = {"picture": pictures.bytes}
        for name in sharing:
            columns[name] = (
                found[(*kinds[0], name)].before if seen is None else found[(*seen, name)].after
            ).pictures.bytes
        shown = torch.stack([column[: config.shown] for column in columns.values()], 1)
        blocks.append(Block(title, colour(place), tuple(columns), shown))
    spec = evidence.inverters[first].representation.classifier.spec
    caption = (
        f"{len(shown)} of the pictures, drawn at random; {spec} is attacked, and its inverters see what it then says."
    )
    with style():
        return Figure(f"pictures-{place}", f"Attacks on the classifier of {first}", caption, sheet(blocks))


def _called(attack: str, epsilon: float) -> str:
    return f"{attack.upper()}, ε = {epsilon:g}"


def _told(name: str, attack: str, epsilon: float, m: dict[str, Estimate | None]) -> str:
    changed, lost, moved, picture = m["label_changed"], m["layout_lost"], m["moved"], m["moved_picture"]
    assert changed is not None and lost is not None and moved is not None and picture is not None
    text = f"{name}: {_called(attack, epsilon)} changes the label of {changed.value:.0%} of pictures"
    if m["paints_new"] is not None and m["paints_old"] is not None:
        text += (
            f", and then the reconstruction is of the new class in {m['paints_new'].value:.0%} and of the old one in "
            f"{m['paints_old'].value:.0%}"
        )
    sure = "" if lost.low > 0 or lost.high < 0 else ", which could be chance"
    return (
        f"{text}; it moves the picture by {picture.value:.3f} and the reconstruction by {moved.value:.3f}, whose "
        f"layout cosine to the true picture changes by {-lost.value:+.3f}{sure}."
    )
