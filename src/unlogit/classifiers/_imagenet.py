"""Readable names of ImageNet's classes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("imagenet.txt")
"""The names of ImageNet-1k in timm's words, kept here since importing timm takes longer than torch."""


@cache
def imagenet_names(subset: str = "imagenet-1k") -> tuple[str, ...]:
    """Return names such as "tench, Tinca tinca" in the order of the logits of classifiers of a subset, in timm's words.

    Names are WordNet's.
    """
    if subset == "imagenet-1k":
        return tuple(FILE.read_text(encoding="utf-8").splitlines())
    from timm.data import ImageNetInfo

    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))
