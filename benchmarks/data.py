"""Images per second that one core reads, by source: `python benchmarks/data.py --images 256 --epochs 2`.

JPEG files of two sizes are made (64 px as in Tiny ImageNet, 500 x 375 px as in ImageNet), as a folder and as shards.
Each is read in shuffled order, with flips, by centre and random crops: decoded whole, as evaluation reads it, and
reduced, as training reads it (`View.reduced`). Times are the process's own, on one thread. Memory and exactness are
those of reduced random crops. Memory is what the process holds beyond what it held after the first epoch, over repeated
epochs of the same shards. Two ranks must read disjoint halves of each batch, and a loader that begins in mid-epoch must
give the same batches as one that ran there.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from _machine import machine
from PIL import Image

from unlogit.cli import guarded
from unlogit.images import ImageSource, Loader, View, open_images
from unlogit.settings import Checked, Count

SHAPES = {"64x64": (64, 64), "500x375": (500, 375)}
PER_SHARD = 500


@dataclass(frozen=True)
class Options(Checked):
    """What is made and read."""

    images: Count = 2_000
    """Images of each shape."""
    shapes: tuple[Literal["64x64", "500x375"], ...] = ("64x64", "500x375")
    """Width and height of the images."""
    epochs: Count = 3
    """Epochs over which memory is watched, beside the first."""
    size: Count = 64
    """Side of the view in pixels."""
    batch: Count = 64


def jpeg(index: int, width: int, height: int) -> bytes:
    """An image with the spectrum of a photograph, about 1 over the frequency, encoded at quality 90."""
    generator = np.random.default_rng(index)
    pixels = np.full((height, width, 3), 128.0)
    for side in (3, 6, 12, 24, 48, 96):
        noise = Image.fromarray(generator.integers(0, 256, (side, side, 3), np.uint8))
        pixels += (np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC)) - 128.0) / side**0.5
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def write(folder: Path, count: int, width: int, height: int) -> dict[str, str]:
    """Write the images as a folder and as shards; returns the specs of both."""
    (folder / "files").mkdir(parents=True)
    for first in range(0, count, PER_SHARD):
        with tarfile.open(folder / f"{first // PER_SHARD:04d}.tar", "w") as shard:
            for index in range(first, min(first + PER_SHARD, count)):
                data = jpeg(index, width, height)
                (folder / "files" / f"{index:07d}.jpg").write_bytes(data)
                for name, content in ((f"{index:07d}.jpg", data), (f"{index:07d}.cls", str(index % 10).encode())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
    return {
        "folder": f"folder:{folder / 'files'}",
        "webdataset": f"webdataset:{folder}/*.tar?index={folder / 'index'}",
    }


def rate(source: ImageSource, view: View, options: Options) -> float:
    """Images per second of the process's own time, over one epoch."""
    loader = Loader(source, view, options.batch, seed=0)
    loader.batch(0)
    steps = max(1, len(source) // options.batch)
    start = time.process_time()
    for step in range(steps):
        loader.batch(step * options.batch)
    return steps * options.batch / (time.process_time() - start)


def training_view(options: Options) -> View:
    return View(options.size, "random", flip=True, reduced=True)


def memory() -> float:
    """Megabytes that the process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def growth(source: ImageSource, options: Options) -> float:
    """Megabytes that further epochs add to what the first took."""
    loader = Loader(source, training_view(options), options.batch, seed=0)
    held = []
    for epoch in range(1 + options.epochs):
        for step in range(max(1, len(source) // options.batch)):
            loader.batch(epoch * len(source) + step * options.batch)
        held.append(memory())
    return max(held[1:]) - held[0]


def check(source: ImageSource, options: Options) -> str:
    """Whether two ranks are disjoint and together the batch, and whether mid-epoch resumption is exact."""
    view = training_view(options)
    whole = Loader(source, view, options.batch, seed=0)
    ranks = [Loader(source, view, options.batch, seed=0, rank=rank, world_size=2) for rank in range(2)]
    position = options.batch * (len(source) // options.batch // 2)
    for at in range(0, position + 1, max(options.batch, position // 2)):
        reached = whole.batch(at)
    reached = whole.batch(position)
    parts = [loader.batch(position) for loader in ranks]
    disjoint = not set(parts[0].indices.tolist()) & set(parts[1].indices.tolist())
    together = torch.equal(torch.cat([part.images for part in parts]), reached.images)
    resumed = Loader(open_images(source.spec), view, options.batch, seed=0).batch(position)
    exact = torch.equal(resumed.images, reached.images) and torch.equal(resumed.indices, reached.indices)
    return "yes" if disjoint and together and exact else "NO"


def main(options: Options) -> None:
    torch.set_num_threads(1)
    print(f"{machine()}; {options}\n")
    rated = [f"{crop}, {how}" for crop in ("centre", "random") for how in ("whole", "reduced")]
    print(f"| {' | '.join(['source', 'images', *rated, 'memory, MB', 'exact'])} |")
    print("|---|---|---:|---:|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory() as folder:
        for shape in options.shapes:
            width, height = SHAPES[shape]
            for name, spec in write(Path(folder) / shape, options.images, width, height).items():
                source = open_images(spec)
                rates = [
                    f"{rate(source, View(options.size, crop, flip=True, reduced=reduced), options):,.0f}"
                    for crop in ("centre", "random")
                    for reduced in (False, True)
                ]
                cells = [name, shape, *rates, f"{growth(source, options):.1f}", check(source, options)]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Options, description=__doc__))))
