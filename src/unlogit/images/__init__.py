"""Where pictures come from: `scenes:`, `folder:PATH`, `parquet:GLOB`; one file a source."""

from __future__ import annotations

from unlogit import registry
from unlogit.errors import BrokenImage
from unlogit.images._base import ImageSource, check_pixels
from unlogit.images._decoding import decode
from unlogit.images._loading import Batch, Loader
from unlogit.images._views import View

__all__ = ["Batch", "BrokenImage", "ImageSource", "Loader", "View", "check_pixels", "decode", "open_images"]


def open_images(spec: str) -> ImageSource:
    """The source that `spec` names, such as `scenes:test`, `folder:photos` or `parquet:shards/*.parquet`.

    Raises `UnlogitError` where the source is unknown, missing, empty or unreadable.
    """
    module, rest = registry.split(spec, "images", __name__)
    source: ImageSource = module.open_source(rest, spec)
    return source
