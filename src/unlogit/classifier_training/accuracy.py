"""How often a classifier is right, clean and under attack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from unlogit.attacks import pgd
from unlogit.classifiers import Classifier
from unlogit.images import Loader
from unlogit.runtime import distributed
from unlogit.statistics import wilson

PGD_STEPS = 20
"""Steps of the attack that is reported."""


def clean_accuracy(classifier: Classifier, loader: Loader, labels: Tensor | None, num_images: int) -> dict[str, Any]:
    """Return the accuracy on held-out images as they are: accuracy, low, high and n. Arguments as of `accuracy`."""
    hits = [0, 0]
    for images, wanted in _batches(classifier, loader, labels, num_images):
        _count(hits, classifier, images, wanted)
    return _share(hits)


def accuracy(
    classifier: Classifier,
    loader: Loader,
    labels: Tensor | None,
    epsilon: float,
    num_images: int,
    num_attacked_images: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Accuracy on held-out images, clean and under attack, with Wilson 95 % intervals.

    Args:
        classifier: in evaluation mode, the same in every process; all its logits compete.
        loader: of labelled images, of which each process takes its part.
        labels: which logit each of the images' labels is; None where they are the same.
        epsilon: radius of the attack, which takes `PGD_STEPS` steps from a random start.
        num_images: how many are looked at, spread over the source.
        num_attacked_images: how many are attacked, spread likewise.
        seed: of the random starts.

    Returns:
        "clean" and "pgd-20", each with accuracy, low, high and n.
    """
    device = classifier.mean.device
    generator = torch.Generator(device).manual_seed(seed + distributed.rank())
    clean = clean_accuracy(classifier, loader, labels, num_images)
    robust = [0, 0]  # how many right, of how many
    for images, wanted in _batches(classifier, loader, labels, num_attacked_images):
        attacked = pgd(classifier, images, wanted, epsilon, PGD_STEPS, generator=generator)
        _count(robust, classifier, attacked, wanted)
    return {"clean": clean, f"pgd-{PGD_STEPS}": _share(robust)}


def _batches(
    classifier: Classifier, loader: Loader, labels: Tensor | None, limit: int
) -> Iterator[tuple[Tensor, Tensor]]:
    device = classifier.mean.device
    for batch in loader.once(limit):
        wanted = batch.labels if labels is None else labels[batch.labels]
        yield batch.images.to(device), wanted.to(device)


@torch.no_grad()
def _count(hits: list[int], classifier: Classifier, images: Tensor, wanted: Tensor) -> None:
    hits[0] += int((classifier(images).argmax(1) == wanted).sum())
    hits[1] += len(images)


def _share(hits: list[int]) -> dict[str, float]:
    """Over all processes."""
    right, n = (round(distributed.world_size() * count) for count in distributed.mean(hits))
    share = wilson(right, n)
    return {"accuracy": share.value, "low": share.low, "high": share.high, "n": n}
