"""Decoding of strangers' images in processes of their own, which are stopped when one takes too long."""

from __future__ import annotations

import io
import multiprocessing
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import ImageSource, View, decode, square

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""What is decoded of strangers: formats that browsers and cameras write, none with a decoder in pure Python."""
UPLOAD_PIXELS = 50_000_000
"""Largest image, as a telephone's camera makes it."""
SECONDS = 10.0
"""Longest time for one image; a fresh process is started after that."""
STARTUP_SECONDS = 120.0
"""Longest start of a process, which imports torch."""
WORKERS = 2
"""Largest number of processes, so that one slow image does not hold up the next one."""
WAITING_SECONDS = 15.0
"""Longest wait for a process that is free."""
MEMORY_BYTES = 4 << 30
"""What one process may allocate beyond what it has after its start (on Linux)."""
THUMBNAIL = 128


class BusyError(UnlogitError):
    """No process is free."""


@dataclass(frozen=True)
class Views:
    """One image: its middle square by largest side, each 1 x 3 x S x S in [0, 1], and a small JPEG."""

    by_size: dict[int, Tensor]
    thumbnail: bytes


def render_views(image: Tensor, sizes: Sequence[int]) -> Views:
    """Return the views of an image, uint8, 3 x H x W."""
    small = (View(THUMBNAIL).apply([image])[0] * 255).round().byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, "JPEG", quality=88)
    return Views({size: square(image[None], size) for size in sizes}, buffer.getvalue())


class Decoder:
    """Decodes strangers' images; a process that hangs or crashes is replaced, and no other image waits for it.

    Args:
        sizes: sides of the views.
        source: a dataset, if any; each process has a copy and reads the files itself.
        seconds: longest time for one image.
    """

    def __init__(self, sizes: Sequence[int], source: ImageSource | None = None, seconds: float = SECONDS) -> None:
        self.sizes = tuple(sizes)
        self.source = source
        self.seconds = seconds
        self._free = threading.BoundedSemaphore(WORKERS)
        self._idle: list[_Worker] = []

    def start(self) -> None:
        """Start the first process, so that the first upload does not wait for it."""
        self._idle.append(_Worker(self.sizes, self.source))

    def decode(self, image: bytes | int) -> Views:
        """Return the views of an uploaded file, or of the dataset's image of that index.

        Raises:
            BrokenImage: it is of no allowed format, damaged, too large, or takes too long.
            BusyError: all processes are at work for longer than `WAITING_SECONDS`.
        """
        if not self._free.acquire(timeout=WAITING_SECONDS):
            raise BusyError("The server is busy with other images: try again in a moment.")
        try:
            worker = self._idle.pop() if self._idle else _Worker(self.sizes, self.source)
            answer = worker.ask(image, self.seconds)
            if worker.is_alive:
                self._idle.append(worker)
        finally:
            self._free.release()
        if isinstance(answer, str):
            raise BrokenImage(answer)
        arrays, thumbnail = answer
        return Views({size: torch.from_numpy(array) for size, array in arrays.items()}, thumbnail)


class _Worker:
    """A process that decodes one image after another."""

    def __init__(self, sizes: tuple[int, ...], source: ImageSource | None) -> None:
        # Not forked from the server, whose threads hold locks that a fork would copy as they are, but from a process
        # that has imported what they need and nothing else: they start in milliseconds. Windows has no such process.
        if sys.platform == "win32":
            context = multiprocessing.get_context("spawn")
        else:
            context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, sizes, source), daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False
        self.is_alive = True

    def ask(self, image: bytes | int, seconds: float) -> str | tuple[dict[int, object], bytes]:
        """Return the views as arrays and the thumbnail, or why there are none."""
        try:
            if not self._ready:
                self._ready = self._connection.poll(STARTUP_SECONDS) and self._connection.recv() is None
            if self._ready:
                self._connection.send(image)
                if self._connection.poll(seconds):
                    return self._connection.recv()
            reason = f"decoding takes longer than {seconds:g} s"
        except (EOFError, OSError):
            reason = "decoding failed"
        self.is_alive = False
        self._process.kill()
        self._process.join()
        self._connection.close()
        return f"{_name(image)}: {reason}"


def _name(image: bytes | int) -> str:
    return f"image {image}" if isinstance(image, int) else "upload"


def _decode(image: bytes | int, source: ImageSource | None) -> Tensor:
    """Return an image as uint8, 3 x H x W."""
    if isinstance(image, int):
        assert source is not None
        return source.decode(image)
    return decode(image, "upload", most=UPLOAD_PIXELS, formats=FORMATS)


def _work(connection: Connection, sizes: tuple[int, ...], source: ImageSource | None) -> None:
    """Answer requests until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The server's alone.
    torch.set_num_threads(1)
    _limit_memory()
    connection.send(None)
    while True:
        try:
            image = connection.recv()
        except EOFError:
            return
        try:
            views = render_views(_decode(image, source), sizes)
        except BrokenImage as error:
            connection.send(str(error))
        except (MemoryError, RuntimeError) as error:
            connection.send(f"{_name(image)}: {type(error).__name__}")
        else:
            connection.send(({size: view.numpy() for size, view in views.by_size.items()}, views.thumbnail))


def _limit_memory() -> None:
    """Let allocations beyond `MEMORY_BYTES` fail."""
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
