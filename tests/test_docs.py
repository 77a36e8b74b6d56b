"""The commands of the documentation do run.

Every line of a block that begins with ```bash run, in any page of docs/, is run in a folder that `desk` prepares: lines
`unlogit ...` by the command line's own function, in this process, which spares importing torch each time, after a real
shell has split and expanded them; all others by a shell. Blocks that begin with ```bash alone need more than is here (a
network, hours) and are not run.
"""

from __future__ import annotations

import io
import json
import re
import struct
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from unlogit import cli
from unlogit.classifiers import open_classifier
from unlogit.classifiers.small import SmallConfig, SmallResNet, save_small
from unlogit.methods import GeneratorInverter
from unlogit.methods.biggan.config import GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.representation import Representation

DOCS = Path(__file__).parents[1] / "docs"
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, block in enumerate(re.findall(r"^```bash run\n(.*?)^```$", page.read_text(), re.M | re.S))
]
SIZE = 32


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages may take for there, in the current folder.

    photos/cat/*.jpg, photos/dog/*.jpg   eight images of 48 x 40 pixels
    tables/train.parquet                 the same, in a column "image", with a column "label"
    shards/000.tar, shards/001.tar       the same, as WebDataset
    data/                                eight digits in MNIST's files, where torchvision looks for them
    runs/classifier/                     `small:`, of cat and dog at 32 px, random weights
    runs/standard/inverter/              an inverter of its logits, random weights
    """
    root: Path = tmp_path_factory.mktemp("desk")
    images = []
    for index in range(8):
        pixels = np.random.default_rng(index).integers(0, 256, (5, 6, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG")
        images.append(stream.getvalue())
        file = root / "photos" / ("cat", "dog")[index % 2] / f"{index}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(images[-1])
    _tables(root / "tables", images)
    _shards(root / "shards", images)
    _mnist(root / "data" / "MNIST" / "raw")
    torch.manual_seed(0)
    classifier = root / "runs" / "classifier"
    save_small(classifier, SmallResNet(SmallConfig(2, SIZE, (8, 8))), ("cat", "dog"), {})
    representation = Representation(open_classifier(f"small:{classifier}"))
    generator = Generator(2, GeneratorConfig(size=SIZE, channels=2, noise=16, hidden=4, attention=None))
    GeneratorInverter(representation, generator, {"deviations": []}, "standard").save(
        root / "runs" / "standard" / "inverter"
    )
    return root


def _tables(folder: Path, images: list[bytes]) -> None:
    folder.mkdir()
    rows = [{"bytes": data, "path": None} for data in images]
    labels = [index % 2 for index in range(len(images))]
    # The types are told as datasets tells them, so that it reads the column as images.
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array(rows, kind), "label": pa.array(labels, pa.int64())})
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}),
        folder / "train.parquet",
    )


def _shards(folder: Path, images: list[bytes]) -> None:
    folder.mkdir()
    half = len(images) // 2
    for number in range(2):
        with tarfile.open(folder / f"{number:03}.tar", "w") as tar:
            for index in range(number * half, (number + 1) * half):
                for kind, content in (("jpg", images[index]), ("cls", str(index % 2).encode())):
                    member = tarfile.TarInfo(f"{index:04}.{kind}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def _mnist(folder: Path) -> None:
    folder.mkdir(parents=True)
    digits = np.random.default_rng(0).integers(0, 256, (8, 28, 28), np.uint8)
    for split in ("train", "t10k"):
        head = struct.pack(">IIII", 0x803, *digits.shape)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(head + digits.tobytes())
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 8) + bytes(range(8)))


@pytest.mark.parametrize("block", BLOCKS)
def test_commands_run(
    block: str, desk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "hf:" in block:
        datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(desk)
    for line in re.sub(r"\\\n\s*", " ", block).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("unlogit "):
            code = _main(_expanded(line.removeprefix("unlogit ")))
        else:
            code = subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=False).returncode
        assert code == 0, f"{line}\n{capsys.readouterr().err}"


def _expanded(arguments: str) -> list[str]:
    """A command's arguments as a shell hands them over."""
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {arguments}"], capture_output=True, text=True, check=True)
    return words.stdout.split("\0")[:-1]


def _main(arguments: list[str]) -> int:
    try:
        return cli.main(arguments)
    except SystemExit as stop:  # of tyro
        return int(stop.code or 0)


def test_there_are_commands_to_run() -> None:
    assert any(str(block.id).startswith("your-images") for block in BLOCKS)


def test_quotes_and_patterns_are_the_shells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    assert _expanded("list 'a b?*' *.jpg --x=1  # why") == ["list", "a b?*", "a.jpg", "b.jpg", "--x=1"]
