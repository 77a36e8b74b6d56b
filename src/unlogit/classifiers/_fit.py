"""Fitting a small classifier, as usual or adversarially. The command line of `unlogit classify` is made from this."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from unlogit.attacks import Model, fgsm, pgd
from unlogit.classifiers._base import Classifier
from unlogit.classifiers._muon import Muon
from unlogit.classifiers.small import CONFIG, MEAN, STD, SmallConfig, SmallResNet, as_classifier, save_small
from unlogit.errors import UnlogitError
from unlogit.images import Batch, Loader, View, open_images
from unlogit.intervals import wilson

PGD_STEPS = 20
"""Steps of the attack that is reported."""

RAMP = 0.6
"""Share of the training over which the radius of its attacks grows to epsilon."""


@dataclass(frozen=True)
class FitConfig:
    """Fit a small classifier and report its accuracy, clean and attacked. The same command again does nothing."""

    out: Path
    """The classifier's folder; it is then opened as small:OUT."""
    images: str = "scenes:"
    """Labelled training pictures as source:name."""
    test_images: str = "scenes:test"
    """Pictures for the reported accuracies, never trained on."""
    objective: Literal["standard", "fgsm", "pgd"] = "standard"
    """Trained on pictures as they are, or on attacked ones: by one step from a random start (fast), or by several."""
    epsilon: float = 8 / 255
    """Radius of the attacks, training's and the reported one's, in the scale where pixels are in [0, 1]."""
    pgd_steps: int = 7
    """Steps of the objective pgd."""
    pictures: int = 64_000
    """Length of training in pictures seen."""
    batch: int = 32
    """Pictures a step."""
    learning_rate: float = 0.05
    """Peak of the one cycle for the residual blocks' convolutions, which Muon trains: by how much a step turns them."""
    learning_rate_rest: float = 2e-3
    """The same for all other parameters, which Adam trains."""
    label_smoothing: float = 0.0
    """Share of the target that is spread evenly over all classes."""
    flip: bool = False
    """Mirror half of the training pictures."""
    crop: Literal["centre", "random"] = "centre"
    """"random": square crops of area 0.5-1.0."""
    size: int = 32
    """Side in pixels of the classifier's input, a power of two from 32 on."""
    widths: tuple[int, ...] = (24, 48, 96)
    """Channels of each stage."""
    test_pictures: int = 2_000
    """How many held-out pictures the clean accuracy is measured on."""
    attacked_pictures: int = 500
    """How many of them are attacked."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("pictures", "batch", "pgd_steps", "test_pictures", "attacked_pictures"):
            if getattr(self, name) < 1:
                raise UnlogitError(f"{name} {getattr(self, name)}: must be at least 1")
        if not 0 <= self.epsilon <= 1:
            raise UnlogitError(f"epsilon {self.epsilon}: must be from 0 to 1, where pixels are; 8/255 is 0.0314")


def fit(config: FitConfig) -> dict[str, Any]:
    """Train a `SmallResNet`, write it to `config.out` and return the figures reached.

    A folder that this very configuration made before is left as it is, and its figures are returned. Nothing is
    written before the end.

    Returns:
        "clean" and "pgd-20" (attacked by 20 steps within epsilon), each with accuracy, low and high (its Wilson 95 %
        interval) and n.

    Raises `UnlogitError` where the folder holds something else, or the pictures have no labels.
    """
    record = json.loads(json.dumps(asdict(config), default=str))
    if config.out.exists():
        before = _before(config.out)
        if before.get("fit") != record:
            raise UnlogitError(f"'{config.out}' holds something else: give another --out or delete it")
        return before["reached"]
    source, held_out = open_images(config.images), open_images(config.test_images)
    for one in (source, held_out):
        if len(one.class_names) < 2 or int(one.labels.min()) < 0:
            raise UnlogitError(f"{one.spec}: some of its pictures have no label, without which nothing can be fitted")
    if source.class_names != held_out.class_names:
        raise UnlogitError(f"{config.images} and {config.test_images} have different classes")

    view = View(config.size, crop=config.crop, flip=config.flip)
    network = train(config, Loader(source, view, config.batch, seed=config.seed), len(source.class_names))
    classifier = as_classifier(network, source.class_names, f"small:{config.out}")
    reached = evaluate(classifier, Loader(held_out, View(config.size), 250, seed=0), config)
    save_small(config.out, network, source.class_names, {"fit": record, "reached": reached})
    return reached


def train(config: FitConfig, loader: Loader, classes: int) -> SmallResNet:
    """A network trained by Muon and Adam, their learning rates going up for a fifth of the time and then down."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = SmallResNet(SmallConfig(classes, config.size, config.widths)).train()
    filters = [p for p in network.stages.parameters() if p.ndim == 4]
    rest = [p for name, p in network.named_parameters() if not (name.startswith("stages.") and p.ndim == 4)]
    # Learns scenes from far fewer pictures than SGD or AdamW did (docs/lab-notes.md).
    optimisers = [Muon(filters, config.learning_rate), torch.optim.Adam(rest, config.learning_rate_rest)]
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))

    def normalised(pixels: Tensor) -> Tensor:
        logits: Tensor = network((pixels - mean) / std)
        return logits

    steps = -(-config.pictures // config.batch)
    warm = max(1, steps // 5)
    schedules = [
        LambdaLR(optimiser, lambda step: min((step + 1) / warm, (steps - step) / (steps - warm + 1)))
        for optimiser in optimisers
    ]
    generator = Generator().manual_seed(config.seed)
    with tqdm(total=steps * config.batch, unit="img", desc="/".join(config.out.parts[-2:]), smoothing=0.05) as bar:
        for step in range(steps):
            batch = loader.batch(step * config.batch)
            # From nothing to the full radius: under the full one from the start, the shapes are hardly learnt at all.
            epsilon = config.epsilon * min(1.0, step / (RAMP * steps))
            pixels = _attacked(config, normalised, batch, epsilon, generator)
            loss = F.cross_entropy(normalised(pixels), batch.labels, label_smoothing=config.label_smoothing)
            if not math.isfinite(value := loss.item()):
                raise UnlogitError(
                    f"the loss is {value} after {step * config.batch:,} pictures: lower the learning rate"
                )
            network.zero_grad()
            loss.backward()
            for optimiser, schedule in zip(optimisers, schedules, strict=True):
                optimiser.step()
                schedule.step()
            bar.update(config.batch)
            if step % 50 == 0:
                bar.set_postfix(loss=f"{value:.3f}")
    return network


def evaluate(classifier: Classifier, loader: Loader, config: FitConfig) -> dict[str, Any]:
    """Accuracy on held-out pictures, clean and under attack, with Wilson 95 % intervals."""
    right, robust = [], []
    generator = Generator().manual_seed(config.seed)
    seen = 0
    for batch in loader.once(config.test_pictures):
        with torch.no_grad():
            right.append(classifier(batch.images).argmax(1) == batch.labels)
        chosen = slice(0, max(0, config.attacked_pictures - seen))
        seen += len(batch)
        images, labels = batch.images[chosen], batch.labels[chosen]
        if len(images):
            attacked = pgd(classifier, images, labels, config.epsilon, PGD_STEPS, generator=generator)
            with torch.no_grad():
                robust.append(classifier(attacked).argmax(1) == labels)
    return {"clean": _accuracy(right), f"pgd-{PGD_STEPS}": _accuracy(robust)}


def _accuracy(hits: list[Tensor]) -> dict[str, float]:
    right, n = int(torch.cat(hits).sum()), sum(map(len, hits))
    share = wilson(right, n)
    return {"accuracy": share.value, "low": share.low, "high": share.high, "n": n}


def _before(folder: Path) -> dict[str, Any]:
    """What was fitted into a folder before; nothing where it holds no small classifier."""
    try:
        found: dict[str, Any] = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError):
        return {}
    return found


def _attacked(config: FitConfig, model: Model, batch: Batch, epsilon: float, generator: Generator) -> Tensor:
    """The pictures that a step trains on."""
    match config.objective:
        case "standard":
            return batch.images
        case "fgsm":
            return fgsm(model, batch.images, batch.labels, epsilon, random_start=True, generator=generator)
        case "pgd":
            return pgd(model, batch.images, batch.labels, epsilon, config.pgd_steps, generator=generator)
