"""Recognition of reconstructions by networks that had no part in training; one value per image.

A reconstruction can match the logits of the inverted classifier and still be unrecognisable to other networks. The
logits of an independent network are standardised by its own logits of the originals, so that every class has the same
weight. Networks disagree: evaluate several, beside the reference images of `references`.
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
"""ImageNet classifiers that need no download. At 160 px they recognise a 64 px image better than at 64 px."""
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
    """Return `recognition` of two sets of images, N x 3 x H x W in [0, 1], by that network."""
    assert len(originals) == len(reconstructions), (len(originals), len(reconstructions))
    return recognition(*(encode(classifier, images.split(CHUNK)) for images in (originals, reconstructions)))


@torch.no_grad()
def encode(classifier: Classifier, batches: Iterable[Tensor]) -> Tensor:
    """Return the logits of batches of images, float32, N x K, on the CPU."""
    return torch.cat([classifier(check_pixels(batch).to(classifier.mean.device)).float().cpu() for batch in batches])


def references(seed: int = 0) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return named changes of originals, functions of batches N x 3 x H x W, which give reference values."""
    generator = torch.Generator().manual_seed(seed)

    def noisy(images: Tensor) -> Tensor:
        return (images + NOISE * torch.randn(images.shape, generator=generator)).clamp(0, 1)

    named: dict[str, Callable[[Tensor], Tensor]] = {"mirrored": lambda images: images.flip(3), f"noise {NOISE}": noisy}
    return named | {f"thumbnail {side} px": lambda images, side=side: thumbnail(images, side) for side in THUMBNAILS}


def thumbnail(images: Tensor, side: int) -> Tensor:
    """Return images reduced to side x side pixels and enlarged again, both bicubic, the reduction antialiased."""
    small = F.interpolate(images, (side, side), mode="bicubic", antialias=True, align_corners=False)
    return F.interpolate(small, images.shape[-2:], mode="bicubic", align_corners=False).clamp(0, 1)


def networks(
    names: Sequence[str], source: ImageSource, automatic: Sequence[str] = DEFAULT_NETWORKS
) -> dict[str, Classifier]:
    """Open classifiers by their specs; "auto" stands for the `automatic` ones that are installed.

    For scenes, "auto" is no classifier, since ImageNet does not contain them. Raises `UnlogitError` for a named one
    that cannot be opened.
    """
    opened = {}
    for spec in names:
        if spec != "auto":
            opened[spec] = open_classifier(spec).fused()
        elif not source.spec.startswith("scenes:"):
            for packaged in automatic:
                with contextlib.suppress(UnlogitError):
                    opened[packaged] = open_classifier(packaged).fused()
    return opened


def part_in_training(classifier: Classifier, took_part: Mapping[str, str | None]) -> str | None:
    """Return which of the networks that `took_part` (see `Inverter.took_part`) a classifier is, or None.

    A network is the same if it has the same weights, the same spec but for the input size, or is one that the
    classifier's own training started from.
    """
    own = {_without_size(spec) for spec in lineage(classifier.spec)}
    weights = classifier.weights_fingerprint()
    return next(
        (spec for spec, fingerprint in took_part.items() if fingerprint == weights or _without_size(spec) in own), None
    )


def _without_size(spec: str) -> str:
    if ":" not in spec:  # A classifier that was not opened by a spec.
        return spec
    parsed = Spec.parse(spec)
    return str(replace(parsed, options=tuple(pair for pair in parsed.options if pair[0] != "size")))
