"""Where images come from: `scenes:`, `folder:PATH`, `parquet:GLOB`, `hf:NAME` and others; one file a source."""

from __future__ import annotations

from unlogit import specs
from unlogit.errors import BrokenImage
from unlogit.images._base import ImageSource, check_pixels, same_images, to_bytes, warn_of_overlap
from unlogit.images._decoding import decode, decode_file
from unlogit.images._loading import Batch, Loader
from unlogit.images._reading import AnyImages, load_images, read_images
from unlogit.images._summary import summary
from unlogit.images._views import View, square

__all__ = [
    "AnyImages",
    "Batch",
    "BrokenImage",
    "ImageSource",
    "Loader",
    "View",
    "check_pixels",
    "decode",
    "decode_file",
    "load_images",
    "open_images",
    "read_images",
    "same_images",
    "square",
    "summary",
    "to_bytes",
    "warn_of_overlap",
]


def open_images(spec: str, *, strict: bool = False) -> ImageSource:
    """The source that `spec` names, such as `scenes:test`, `folder:photos` or `parquet:shards/*.parquet`.

    Its broken images are skipped and counted (`ImageSource.broken`), or with `strict` the first is an error.
    Raises `UnlogitError` where the source is unknown, missing, empty or unreadable.
    """
    module, rest = specs.split(spec, "images", __name__)
    source: ImageSource = module.open_source(rest, spec)
    source.broken.strict = strict
    return source
