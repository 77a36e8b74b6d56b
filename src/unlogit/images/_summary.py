"""What a source holds, in a few lines: to look before a long run."""

from __future__ import annotations

from unlogit.errors import UnlogitError
from unlogit.images._base import ImageSource
from unlogit.images._loading import spread
from unlogit.outside import all_whole, in_order, short_names

LOOKED_AT = 200
SHOWN = 8
CHUNK = 8
"""Images held at a time: photographs are large."""


def summary(source: ImageSource, limit: int = LOOKED_AT) -> str:
    """How many images and in which classes; and from `limit` of them, spread over the source, how large they are.

    Raises `UnlogitError` where too many of those are broken (see `Broken`), or all.
    """
    lines = [f"{len(source):,} images{'' if source.class_names else ', without labels'}"]
    if source.class_names:
        labelled = source.labels[source.labels >= 0]
        counts = labelled.bincount(minlength=len(source.class_names)).tolist()
        named = [f"{name} {count:,}" for name, count in zip(short_names(source.class_names), counts, strict=True)]
        more = f", and {len(named) - SHOWN:,} more" if len(named) > SHOWN else ""
        lines.append(f"{len(named):,} classes: {', '.join(named[:SHOWN])}{more} ({_order(source.class_names)})")
        if len(labelled) < len(source):
            lines.append(f"{len(source) - len(labelled):,} without a label")
    lines.append(source.inventory.summary())
    sizes = []
    indices = spread(len(source), limit).tolist()
    for start in range(0, len(indices), CHUNK):
        images = source.read_good(indices[start : start + CHUNK])
        sizes += [(image.shape[2], image.shape[1]) for image in images if image is not None]
    if not sizes:
        raise UnlogitError(f"{source.spec}: none of its images can be decoded ({source.broken.summary()})")
    smallest, largest = (f"{w} x {h}" for w, h in (pick(sizes, key=min) for pick in (min, max)))
    extent = smallest if len(set(sizes)) == 1 else f"{smallest} to {largest}"
    lines.append(f"{len(sizes):,} of {len(sizes) + len(source.broken):,} decoded: {extent} pixels")
    return "\n".join(lines)


def _order(names: tuple[str, ...]) -> str:
    """In which order labels number the classes."""
    if list(names) != in_order(names):
        return "numbered in the order of the dataset"
    return f"numbered in {'numerical' if all_whole(names) else 'alphabetical'} order"
