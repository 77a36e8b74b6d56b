"""A fingerprint changes with every image anywhere in a source, and with their order; and costs little."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from unlogit.images import ImageSource, open_images, same_images

COUNT = 40


def png(red: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (6, 5), (red, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def folder(root: Path, reds: list[int]) -> str:
    root.mkdir(parents=True, exist_ok=True)
    for index, red in enumerate(reds):
        file = root / f"{index:03}.png"
        if not file.exists() or file.read_bytes() != png(red):
            file.write_bytes(png(red))
            os.utime(file, ns=(red, red))  # Dates of their own, whatever the clock's steps.
    return f"folder:{root}"


def webdataset(root: Path, reds: list[int]) -> str:
    root.mkdir(parents=True, exist_ok=True)
    for part in range(4):
        mine = reds[part * COUNT // 4 : (part + 1) * COUNT // 4]
        with tarfile.open(root / f"{part}.tar", "w") as tar:
            for index, red in enumerate(mine):
                member = tarfile.TarInfo(f"{index}.png")
                member.size = len(png(red))
                tar.addfile(member, io.BytesIO(png(red)))
        os.utime(root / f"{part}.tar", ns=(sum(mine), sum(red * position for position, red in enumerate(mine))))
    return f"webdataset:{root}/*.tar?index={root}/index"


def hf_saved(root: Path, reds: list[int]) -> str:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image()})
    rows = {"image": [{"bytes": png(red), "path": None} for red in reds]}
    datasets.Dataset.from_dict(rows, features).save_to_disk(root / "saved")
    return f"hf:{root}/saved"


def torchvision_files(root: Path, reds: list[int]) -> str:
    for index, red in enumerate(reds):
        file = root / "eurosat" / "2750" / "Forest" / f"{index:03}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.read_bytes() != png(red):
            file.write_bytes(png(red))
            os.utime(file, ns=(red, red))
    return f"torchvision:EuroSAT?root={root}"


MADE = [folder, webdataset, hf_saved, torchvision_files]


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("place", [0, 17, 38])
def test_one_image_anywhere(make, place: int, tmp_path: Path) -> None:
    reds = list(range(100, 100 + COUNT))
    first = open_images(make(tmp_path, reds)).fingerprint()
    assert open_images(make(tmp_path, reds)).fingerprint() == first or make is hf_saved
    reds[place] += 3
    assert open_images(make(tmp_path, reds)).fingerprint() != first


def test_images_beside_a_dataset_of_the_hub(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    from unlogit.images.hf import HubImages

    reds = list(range(100, 100 + COUNT))
    folder(tmp_path, reds)
    files = [str(tmp_path / f"{index:03}.png") for index in range(COUNT)]
    rows = datasets.Dataset.from_dict({"image": files}, datasets.Features({"image": datasets.Image(decode=False)}))
    first = HubImages(rows, "image", [None] * COUNT, (), "hf:x", "same").fingerprint()
    assert HubImages(rows, "image", [None] * COUNT, (), "hf:x", "same").fingerprint() == first
    folder(tmp_path, [*reds[:17], 200, *reds[18:]])
    assert HubImages(rows, "image", [None] * COUNT, (), "hf:x", "same").fingerprint() != first
    streamed = [{"image": {"bytes": png(red), "path": None}} for red in reds]
    prints = {HubImages(streamed, "image", [None] * COUNT, (), "hf:x", "").fingerprint()}
    streamed[17] = {"image": {"bytes": png(200), "path": None}}
    assert len(prints | {HubImages(streamed, "image", [None] * COUNT, (), "hf:x", "").fingerprint()}) == 2


def test_the_order(tmp_path: Path) -> None:
    spec = folder(tmp_path, list(range(100, 140)))
    first = open_images(spec).fingerprint()
    (tmp_path / "000.png").rename(tmp_path / "999.png")
    assert open_images(spec).fingerprint() != first
    for shards in ("{0,1,2,3}", "{3,1,2,0}"):
        webdataset(tmp_path / "shards", list(range(100, 140)))
        spec = f"webdataset:{tmp_path}/shards/{shards}.tar?index={tmp_path}/index"
        print_ = open_images(spec).fingerprint()
        assert not same_images(print_, first)
        first = print_


def test_the_same_images_under_another_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "photos", list(range(100, 110)))
    monkeypatch.chdir(tmp_path)
    prints = [open_images(spec).fingerprint() for spec in ("folder:photos", f"folder:{tmp_path}/photos")]
    assert prints[0] != prints[1] and same_images(*prints)
    assert same_images(*(open_images(spec).fingerprint() for spec in ("scenes:", "scenes:train")))
    assert not same_images(*(open_images(spec).fingerprint() for spec in ("scenes:", "scenes:test")))


class Own(ImageSource):
    """A user's source, which has no quick way of its own."""

    spec = "own:"
    class_names = ()

    def __init__(self, reds: list[int]) -> None:
        self.reds = reds

    def __len__(self) -> int:
        return len(self.reds)

    @property
    def labels(self) -> Tensor:
        return torch.full((len(self),), -1)

    def decode(self, index: int) -> Tensor:
        return torch.full((3, 2, 2), self.reds[index], dtype=torch.uint8)


def test_a_source_without_a_quick_way_reads_everything() -> None:
    reds = list(range(100))
    first = Own(reds).fingerprint()
    assert Own(reds).fingerprint() == first
    assert len({first, *(Own([*reds[:place], 200, *reds[place + 1 :]]).fingerprint() for place in range(100))}) == 101


def test_many_files_are_cheap(tmp_path: Path) -> None:
    for index in range(2_000):
        (tmp_path / f"{index}.png").touch()
    started = time.process_time()
    assert open_images(f"folder:{tmp_path}").fingerprint()
    # 2,000 take 0.04 s of processor time on a free core; reading any of them would fail.
    assert time.process_time() - started < 2
