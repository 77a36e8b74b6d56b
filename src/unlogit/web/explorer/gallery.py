"""The images that the page offers: sample photos, a dataset's, and those that were dropped in."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from unlogit import photos
from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import ImageSource
from unlogit.images._decoding import decode_file
from unlogit.web.explorer.decoding import Decoder, Views, render_views

ADDRESS = re.compile(r"(photo/[a-z0-9_-]{1,60})|(set/[0-9]{1,12})|(dropped/[0-9a-f]{32})")
UPLOAD_BYTES = 20_000_000
KEPT = 64
"""How many dropped images are held in memory; the ones not asked for for longest are forgotten."""
OFFERED = 18
"""Number of images of a dataset that are offered, spread over it."""


class Gallery:
    """Images by their address: photo/NAME, set/INDEX or dropped/DIGEST. Nothing is written to disk.

    Args:
        sizes: the sides that will be asked for.
        source: a data set, if any.
    """

    def __init__(self, sizes: Sequence[int], source: ImageSource | None = None) -> None:
        self.sizes = sorted(set(sizes))
        self.source = source
        self._photos = {f"photo/{path.stem}": path for path in photos.paths()}
        self._opened: OrderedDict[str, Views] = OrderedDict()
        self._dropped: OrderedDict[str, Views] = OrderedDict()
        self.decoder = Decoder(self.sizes, source)
        self._changing = threading.Lock()  # Guards the stored images; never held while an image is decoded.

    def offered(self) -> dict[str, str]:
        """Return the titles of the offered images by address, those of the dataset first."""
        titles = {}
        if self.source is not None:
            for index in np.unique(np.linspace(0, len(self.source) - 1, OFFERED).astype(int)).tolist():
                try:
                    self.views(f"set/{index}")
                except BrokenImage:
                    continue
                titles[f"set/{index}"] = self.title(f"set/{index}")
        return titles | {address: self.title(address) for address in self._photos}

    def title(self, address: str) -> str:
        """Return the title of an image."""
        kind, _, rest = address.partition("/")
        if kind != "set" or self.source is None:
            return "your image" if kind == "dropped" else rest.replace("_", " ")
        label, names = int(self.source.labels[int(rest)]), self.source.class_names
        return f"{names[label].split(',')[0]}, no. {rest}" if 0 <= label < len(names) else f"no. {rest}"

    def drop(self, data: bytes) -> str:
        """Decode and keep an uploaded file; returns its address, the same for the same file.

        Raises:
            BrokenImage: it cannot be decoded within the limits.
            BusyError: others are uploading.
        """
        address = f"dropped/{hashlib.sha256(data).hexdigest()[:32]}"
        self._keep(self._dropped, address, self.decoder.decode(data))
        return address

    def views(self, address: str) -> Views:
        """Return the image at that address; raises `UnlogitError` where there is none, or it cannot be decoded."""
        held = self._dropped if address.startswith("dropped/") else self._opened
        with self._changing:
            if address in held:
                held.move_to_end(address)
                return held[address]
        views = self._read(address)
        self._keep(self._opened, address, views)
        return views

    def _keep(self, held: OrderedDict[str, Views], address: str, views: Views) -> None:
        with self._changing:
            held[address] = views
            held.move_to_end(address)
            while len(held) > KEPT:
                held.popitem(last=False)

    def _read(self, address: str) -> Views:
        if address in self._photos:  # Our own files, which need no guard.
            return render_views(decode_file(self._photos[address]), self.sizes)
        kind, _, rest = address.partition("/")
        if kind == "dropped":
            raise UnlogitError("This image is no longer stored: drop it in again.")
        if kind == "set" and self.source is None:
            raise UnlogitError("This image is from a dataset that is not open: start the explorer with its --images.")
        if kind == "set" and self.source is not None and rest.isdecimal() and int(rest) < len(self.source):
            return self.decoder.decode(int(rest))
        raise UnlogitError(f"There is no image '{address}' here.")
