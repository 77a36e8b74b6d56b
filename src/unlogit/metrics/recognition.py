"""Whether networks that had no part in training recognise reconstructions; one value per image.

A reconstruction can satisfy the inverted classifier and mean nothing to anyone else. The logits of an independent
network are standardised by its own logits of the originals, so that every class counts alike. Networks disagree:
evaluate several, beside the reference images of `references`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.classifiers import Classifier, open_classifier
from unlogit.classifiers.fitted import lineage
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, check_pixels
from unlogit.metrics.reencoding import agreement, logit_cosine
from unlogit.specs import Spec

DEFAULT_NETWORKS = tuple(f"packaged:efficientnet_lite{n}?size=160" for n in (1, 2))
"""ImageNet classifiers that need no download. At 160 px they read a 64 px image better than at its own size."""
CHUNK = 64
NOISE = 0.05
THUMBNAILS = (32, 16, 8)
SPREAD = 1e-6
"""Smallest standard deviation of a logit."""


def recognition(logits: Tensor, reencoded: Tensor) -> dict[str, Tensor]:
    """Compare one network's logits of originals and of reconstructions, N x K each; values N each.

    Returns:
        "cosine": cosine of the logits standardised by mean and standard deviation over the originals, in [-1, 1]: 1
        for the same image, about 0 for unrelated ones. "same_class": 1 where the two predictions agree, else 0.
        "class_in_5": 1 where the original's predicted class is among the reconstruction's five likeliest, else 0.
    """
    mean, spread = logits.mean(0), logits.std(0, correction=0).clamp(min=SPREAD)
    return {
        "cosine": logit_cosine((logits - mean) / spread, (reencoded - mean) / spread),
        "same_class": agreement(logits, reencoded),
        "class_in_5": agreement(logits, reencoded, k=min(5, logits.shape[1])),
    }


def recognise(classifier: Classifier, originals: Tensor, reconstructions: Tensor) -> dict[str, Tensor]:
    """`recognition` of two sets of images, N x 3 x H x W in [0, 1], by that network."""
    assert len(originals) == len(reconstructions), (len(originals), len(reconstructions))
    return recognition(*(encode(classifier, images.split(CHUNK)) for images in (originals, reconstructions)))


@torch.no_grad()
def encode(classifier: Classifier, batches: Iterable[Tensor]) -> Tensor:
    """Logits of batches of images, float32, N x K, on the CPU."""
    return torch.cat([classifier(check_pixels(batch).to(classifier.mean.device)).float().cpu() for batch in batches])


def references(seed: int = 0) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return named changes of originals, each from a batch N x 3 x H x W to another: a scale to read values by."""
    generator = torch.Generator().manual_seed(seed)

    def noisy(images: Tensor) -> Tensor:
        return (images + NOISE * torch.randn(images.shape, generator=generator)).clamp(0, 1)

    named: dict[str, Callable[[Tensor], Tensor]] = {"mirrored": lambda images: images.flip(3), f"noise {NOISE}": noisy}
    return named | {f"thumbnail {side} px": lambda images, side=side: thumbnail(images, side) for side in THUMBNAILS}


def thumbnail(images: Tensor, side: int) -> Tensor:
    """Images reduced to side x side pixels and enlarged again, both bicubic, the reduction antialiased."""
    small = F.interpolate(images, (side, side), mode="bicubic", antialias=True, align_corners=False)
    return F.interpolate(small, images.shape[-2:], mode="bicubic", align_corners=False).clamp(0, 1)


def networks(
    given: Sequence[str], source: ImageSource, automatic: Sequence[str] = DEFAULT_NETWORKS
) -> dict[str, Classifier]:
    """Open classifiers by their specs; "auto" stands for the `automatic` ones that are installed.

    For scenes these are none: ImageNet classifiers do not know them. Raises `UnlogitError` for one that is given and
    cannot be opened.
    """
    found = {}
    for spec in given:
        if spec != "auto":
            found[spec] = open_classifier(spec).fused()
        elif not source.spec.startswith("scenes:"):
            for packaged in automatic:
                with contextlib.suppress(UnlogitError):
                    found[packaged] = open_classifier(packaged).fused()
    return found


def part_in_training(classifier: Classifier, took_part: Mapping[str, str | None]) -> str | None:
    """Return which of the networks that `took_part` (see `Inverter.took_part`) a classifier is, or None.

    The same network is one of the same weights, of the same spec but for the input size, or of such a one that the
    classifier's own training started from.
    """
    own = {_without_size(spec) for spec in lineage(classifier.spec)}
    weights = classifier.weights_fingerprint()
    return next((spec for spec, known in took_part.items() if known == weights or _without_size(spec) in own), None)


def _without_size(spec: str) -> str:
    if ":" not in spec:  # A classifier that was not opened by a spec.
        return spec
    given = Spec.parse(spec)
    return str(replace(given, options=tuple(pair for pair in given.options if pair[0] != "size")))
