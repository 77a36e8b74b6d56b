"""Whether images that something is measured on are those that it was trained on."""

from __future__ import annotations

import sys

from unlogit.images._base import ImageSource
from unlogit.outside import plain


def same_images(fingerprint: str, other: str) -> bool:
    """Return whether two fingerprints are of the same images in the same order, whatever their specs.

    Images that two different datasets share are not looked for.
    """
    return fingerprint.rsplit("#", 2)[1:] == other.rsplit("#", 2)[1:]


def warn_of_overlap(training: ImageSource, held_out: ImageSource) -> None:
    """Print a warning to stderr where held-out images are the training images: metrics then measure memory."""
    if same_images(training.fingerprint(), held_out.fingerprint()):
        print(
            f"unlogit: warning: the held-out images {plain(held_out.spec)} are the training images: metrics on them "
            "show what was memorised; give other images for an honest measure",
            file=sys.stderr,
        )
