"""The pictures that the page offers: photographs, a data set's, and those that were dropped in."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from unlogit import photos
from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import ImageSource, View, decode
from unlogit.images._decoding import decode_file

ADDRESS = re.compile(r"(photo/[a-z0-9_-]{1,60})|(set/[0-9]{1,12})|(dropped/[0-9a-f]{32})")
UPLOAD_BYTES = 20_000_000
UPLOAD_PIXELS = 50_000_000
"""What a telephone's camera makes."""
KEPT = 64
"""How many dropped pictures are held in memory; the ones not asked for for longest are forgotten."""
OFFERED = 18
"""Of a data set, spread over it."""
THUMBNAIL = 128


@dataclass(frozen=True)
class Views:
    """One picture's middle square, by the sides that inverters ask for, 1 x 3 x S x S in [0, 1]; and a small JPEG."""

    by_size: dict[int, Tensor]
    thumbnail: bytes


class Gallery:
    """Pictures by their address: photo/NAME, set/INDEX or dropped/DIGEST. Nothing is written to disk.

    Args:
        sizes: the sides that will be asked for.
        source: a data set, if any.
    """

    def __init__(self, sizes: Sequence[int], source: ImageSource | None = None) -> None:
        self.sizes = sorted(set(sizes))
        self.source = source
        self._photos = {f"photo/{path.stem}": path for path in photos.paths()}
        self._kept: OrderedDict[str, Views] = OrderedDict()
        self._dropped: OrderedDict[str, Views] = OrderedDict()
        self._decoding = threading.Lock()  # One at a time, which bounds the memory.

    def offered(self) -> dict[str, str]:
        """Addresses of what there is to pick from, and what each is called; the data set's first."""
        found = {}
        if self.source is not None:
            for index in np.unique(np.linspace(0, len(self.source) - 1, OFFERED).astype(int)).tolist():
                try:
                    self.views(f"set/{index}")
                except BrokenImage:
                    continue
                found[f"set/{index}"] = self.title(f"set/{index}")
        return found | {address: self.title(address) for address in self._photos}

    def title(self, address: str) -> str:
        """What a picture is called."""
        kind, _, rest = address.partition("/")
        if kind != "set" or self.source is None:
            return "your picture" if kind == "dropped" else rest.replace("_", " ")
        label, names = int(self.source.labels[int(rest)]), self.source.class_names
        return f"{names[label].split(',')[0]}, no. {rest}" if 0 <= label < len(names) else f"no. {rest}"

    def drop(self, data: bytes) -> str:
        """Take a picture's file in; returns its address, the same for the same file. Raises `BrokenImage`."""
        address = f"dropped/{hashlib.sha256(data).hexdigest()[:32]}"
        with self._decoding:
            views = self._see(decode(data, "picture", most=UPLOAD_PIXELS))
            self._dropped[address] = views
            while len(self._dropped) > KEPT:
                self._dropped.popitem(last=False)
        return address

    def views(self, address: str) -> Views:
        """The picture at that address; raises `UnlogitError` where there is none."""
        with self._decoding:
            held = self._dropped if address.startswith("dropped/") else self._kept
            if address in held:
                held.move_to_end(address)
                return held[address]
            views = self._see(self._read(address))
            self._kept[address] = views
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return views

    def _read(self, address: str) -> Tensor:
        if address in self._photos:
            return decode_file(self._photos[address])
        kind, _, rest = address.partition("/")
        if kind == "dropped":
            raise UnlogitError("That picture was dropped in elsewhere or long ago, and is not kept: drop it in again.")
        if kind == "set" and self.source is None:
            raise UnlogitError("That picture is from a data set, which is not open here: start with its --images.")
        if kind == "set" and self.source is not None and rest.isdecimal() and int(rest) < len(self.source):
            return self.source.decode(int(rest))
        raise UnlogitError(f"There is no picture '{address}' here.")

    def _see(self, picture: Tensor) -> Views:
        small = (View(THUMBNAIL).apply([picture])[0] * 255).round().byte().permute(1, 2, 0).numpy()
        buffer = io.BytesIO()
        Image.fromarray(small).save(buffer, "JPEG", quality=88)
        return Views({size: View(size).apply([picture]) for size in self.sizes}, buffer.getvalue())
