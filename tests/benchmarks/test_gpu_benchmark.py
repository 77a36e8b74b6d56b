"""The run for a GPU, at tiny sizes on the CPU: shards, curve, saved inverter and table."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from unlogit.images import open_images
from unlogit.methods import open_inverter

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def _parquet(file: Path, side: int, count: int = 12) -> Path:
    generator = np.random.default_rng(0)
    images = []
    for _ in range(count):
        pixels = generator.integers(0, 256, (4, 4, 3), np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(stream, "JPEG")
        images.append({"bytes": stream.getvalue(), "path": None})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(images, kind), "label": list(range(count))}), file)
    return file


def test_a_shard_keeps_bytes_of_the_size_and_shrinks_larger_images(tmp_path: Path) -> None:
    import shards

    same, large = _parquet(tmp_path / "same.parquet", 64), _parquet(tmp_path / "large.parquet", 96)
    for file in (same, large):
        shards.write(shards.Shards(str(file), tmp_path / "out" / file.name, count=5))
    kept, shrunk = (open_images(f"parquet:{tmp_path / 'out' / file.name}") for file in (same, large))
    original = open_images(f"parquet:{same}")
    assert len(kept) == len(shrunk) == 5
    assert torch.equal(kept.labels, shrunk.labels)
    for i in range(5):
        assert torch.equal(kept.decode(i), original.decode(int(kept.labels[i])))
        assert shrunk.decode(i).shape == (3, 64, 64)


def test_a_cut_run_leaves_its_curve_and_an_inverter_that_opens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import gpu

    shard = _parquet(tmp_path / "images.parquet", 64)
    options = gpu.Options(
        shard, shard, tmp_path / "out", classifiers=("fitted:lite0_robust",), minutes=0.02, training_share=0.5,
        channels=2, batch=2, save_every=0.1, validated=4, step_channels=8, step_batch=2, rounds=1,
    )  # fmt: skip
    gpu.main(options)
    folder = options.out / "lite0_robust"
    curve = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    assert curve[-1]["images"] >= 2
    assert {"images_per_second", "loss_d", "loss_g", "val/agreement", "val/layout_cosine"} <= set(curve[-1])
    inverter = open_inverter(str(folder / "inverter"))
    assert inverter.reconstruct(torch.rand(1, 3, 64, 64), seed=0).shape == (1, 3, 64, 64)
    (row,) = [json.loads(line) for line in (options.out / "step.jsonl").read_text().splitlines()]
    assert row["step"] == "ours" and row["images_per_second"] > 0
    assert "| ours | fp32 |" in capsys.readouterr().out
