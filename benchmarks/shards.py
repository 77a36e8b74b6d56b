"""Write a small parquet shard of images, to travel to a machine that has no data set.

    python benchmarks/shards.py 'DIR/train-*.parquet' train.parquet --count 20000
    python benchmarks/shards.py DIR/val.parquet held-out.parquet --count 1000

The images are spread at random over the source, the same ones each time. A JPEG of the wanted size keeps its bytes;
any other image is shown as training shows it (its middle square, resized) and encoded anew. 20,000 images of Tiny
ImageNet are 26 MB.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from PIL import Image

from unlogit.cli import guarded
from unlogit.images import View, open_images
from unlogit.images._loading import spread
from unlogit.images.parquet import ParquetImages
from unlogit.settings import Checked, Count, Width

JPEG = {"format": "JPEG", "quality": 92, "subsampling": 0}


@dataclass(frozen=True)
class Shards(Checked):
    """What is written."""

    source: tyro.conf.Positional[str]
    """Parquet files that hold the images."""
    out: tyro.conf.Positional[Path]
    """The shard."""
    count: Count = 20_000
    """Images."""
    size: Width = 64
    """Side in pixels."""


def write(shards: Shards) -> int:
    """Write the shard; returns its size in bytes."""
    source = open_images(f"parquet:{shards.source}")
    assert isinstance(source, ParquetImages)
    chosen = spread(len(source), shards.count).tolist()
    images = [{"bytes": _encoded(source, index, shards.size), "path": None} for index in chosen]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(images, kind), "label": pa.array(source.labels[chosen].tolist(), pa.int64())}
    shards.out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), shards.out, compression="none")
    return shards.out.stat().st_size


def _encoded(source: ParquetImages, index: int, size: int) -> bytes:
    data = bytes(source.encoded(index))
    with Image.open(io.BytesIO(data)) as image:
        if image.format == "JPEG" and image.size == (size, size):
            return data
    (pixels,) = View(size).apply([source.decode(index)])
    stream = io.BytesIO()
    Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).numpy()).save(stream, **JPEG)
    return stream.getvalue()


def main(shards: Shards) -> None:
    print(f"{shards.out}: {write(shards) / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Shards, description=__doc__))))
