"""Names that keys of saved files had in earlier versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMER = {
    "aids": "deviations",
    "attacked_pictures": "num_attacked_images",
    "pictures": "num_images",
    "pictures_before": "images_before",
    "pictures_seen": "images_seen",
    "tap": "layer",
    "test_pictures": "num_test_images",
    "training_pictures": "training_images",
    "validation_pictures": "num_validation_images",
    "warm_start_pictures": "warm_start_images",
}
"""What keys of saved files were called up to version 0.2, and what they are called now."""


def current(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an older version saved under the keys of this one; inner objects stay as they are."""
    return {FORMER.get(key, key): value for key, value in saved.items()}
