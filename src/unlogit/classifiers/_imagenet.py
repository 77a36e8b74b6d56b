"""Readable names of ImageNet's 1,000 classes."""

from __future__ import annotations

from functools import cache

from timm.data import ImageNetInfo


@cache
def imagenet_names() -> tuple[str, ...]:
    """Descriptions such as "tench" in the order of the logits of ImageNet-1k classifiers."""
    info = ImageNetInfo()
    return tuple(info.index_to_description(index) for index in range(1000))
