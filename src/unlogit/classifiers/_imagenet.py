"""Readable names of ImageNet's classes."""

from __future__ import annotations

from functools import cache

from timm.data import ImageNetInfo


@cache
def imagenet_names(subset: str = "imagenet-1k") -> tuple[str, ...]:
    """Descriptions such as "tench" in the order of the logits of classifiers of a subset, in timm's words."""
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))
