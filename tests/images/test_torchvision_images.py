import csv
import hashlib
import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import open_images


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_args: object, **_options: object) -> None:
        raise OSError("the network is out of bounds")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)


def save(path, red: int, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (red, 0, 0)).save(path, **options)


@pytest.fixture
def food(tmp_path):
    """Food-101 in little: files, and lists of them by class."""
    root = tmp_path / "food-101"
    for name in ("waffles/1", "apple_pie/2", "apple_pie/3"):
        save(root / "images" / f"{name}.jpg", 80 * int(name[-1]), quality=100)
    (root / "meta").mkdir()
    (root / "meta" / "train.json").write_text(
        json.dumps({"waffles": ["waffles/1"], "apple_pie": ["apple_pie/2", "apple_pie/3"]})
    )
    (root / "meta" / "test.json").write_text(json.dumps({"waffles": ["waffles/1"], "apple_pie": []}))
    return tmp_path


def test_files_are_read_when_they_are_asked_for(food):
    broken = food / "food-101" / "images" / "apple_pie" / "3.jpg"
    broken.write_bytes(b"junk")
    source = open_images(f"torchvision:Food101?root={food}")
    assert source.class_names == ("apple_pie", "waffles")
    assert sorted(source.labels.tolist()) == [0, 0, 1]
    position = source.labels.tolist().index(1)
    assert abs(int(source.decode(position)[0, 0, 0]) - 80) < 3 and source.decode(position).shape == (3, 5, 6)
    with pytest.raises(BrokenImage, match=r"apple_pie/3\.jpg: cannot identify"):
        [source.decode(index) for index in range(3)]
    broken.unlink()
    with pytest.raises(BrokenImage, match=r"apple_pie/3\.jpg: .*No such file"):
        [source.decode(index) for index in range(3)]


def test_files_are_decoded_as_everywhere(food):
    """Where torchvision's own loader turns no image upright and lays none on white."""
    exif = Image.Exif()
    exif[0x0112] = 6
    save(food / "food-101" / "images" / "waffles" / "1.jpg", 80, exif=exif)
    assert open_images(f"torchvision:Food101?root={food}&split=test").decode(0).shape == (3, 6, 5)


def test_splits_and_names_of_sets(food):
    assert len(open_images(f"torchvision:food101?root={food}&split=test")) == 1
    with pytest.raises(UnlogitError, match=r"Unknown value 'val' for argument split. Valid values are"):
        open_images(f"torchvision:Food101?root={food}&split=val")
    with pytest.raises(UnlogitError, match=r"unknown torchvision dataset 'Food11'.*Did you mean 'Food101'"):
        open_images("torchvision:Food11")
    with pytest.raises(UnlogitError, match="unknown torchvision dataset ''"):
        open_images("torchvision:")
    with pytest.raises(UnlogitError, match="option 'split=val' of .*: must be one of test, train"):
        open_images("torchvision:MNIST?split=val")
    with pytest.raises(UnlogitError, match="option 'split' of .* is missing: add split=VALUE"):
        open_images("torchvision:EMNIST?train=false")
    with pytest.raises(UnlogitError, match="option 'train=no' of .*: must be true or false"):
        open_images("torchvision:EMNIST?split=letters&train=no")


def test_a_set_that_is_nowhere(tmp_path):
    with pytest.raises(UnlogitError, match=r"is not in '.*', and could not be downloaded .*root=FOLDER"):
        open_images(f"torchvision:CIFAR10?root={tmp_path}/absent")


def test_the_own_folder_is_where_torch_keeps_downloads(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UnlogitError, match=f"is not in '{tmp_path}/datasets'"):
        open_images("torchvision:CIFAR10")


def test_arrays(tmp_path, monkeypatch):
    """CIFAR-10 in its own format, with the checksums of what is written here."""

    def write(name: str, content: object) -> list[str]:
        data = pickle.dumps(content)
        (tmp_path / "cifar" / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    (tmp_path / "cifar").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8)
    monkeypatch.setattr(datasets.CIFAR10, "base_folder", "cifar")
    monkeypatch.setattr(
        datasets.CIFAR10, "train_list", [write("one", {"data": pixels.reshape(4, -1), "labels": [2, 0, 1, 1]})]
    )
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [])
    name, md5 = write("names", {"label_names": ["airplane", "automobile", "bird"]})
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})
    source = open_images(f"torchvision:CIFAR10?root={tmp_path}&split=train")
    assert source.labels.tolist() == [2, 0, 1, 1] and source.class_names == ("airplane", "automobile", "bird")
    assert torch.equal(torch.stack([source.decode(i) for i in range(4)]), torch.from_numpy(pixels))


def test_a_set_that_reads_its_own_files(tmp_path):
    """Caltech 101 takes no loader and tells its labels only with the images; its classes are its folders."""
    for name, red in (("ant/image_0001", 50), ("bass/image_0001", 100), ("bass/image_0002", 150)):
        save(tmp_path / "caltech101" / "101_ObjectCategories" / f"{name}.jpg", red, quality=100)
    (tmp_path / "caltech101" / "101_ObjectCategories" / "BACKGROUND_Google").mkdir()
    spec = f"torchvision:Caltech101?root={tmp_path}"
    source = open_images(spec)
    assert source.class_names == ("ant", "bass") and source.labels.tolist() == [0, 1, 1]
    assert [abs(int(source.decode(i)[0, 0, 0]) - 50 * (i + 1)) < 3 for i in range(3)] == [True] * 3
    (tmp_path / "caltech101" / "101_ObjectCategories" / "bass" / "image_0001.jpg").write_bytes(b"junk")
    source = open_images(spec)
    assert source.labels.tolist() == [0, -1, 1]
    with pytest.raises(BrokenImage, match="image 1: cannot identify"):
        source.decode(1)


def test_what_is_no_class_is_refused(tmp_path):
    """CelebA has forty attributes an image and no class."""
    root = tmp_path / "celeba"
    for number in (1, 2):
        save(root / "img_align_celeba" / f"00000{number}.jpg", 9)
    tables = {
        "list_eval_partition.txt": ["000001.jpg 0", "000002.jpg 0"],
        "identity_CelebA.txt": ["000001.jpg 7", "000002.jpg 8"],
        "list_bbox_celeba.txt": ["2", "x y w h", "000001.jpg 0 0 1 1", "000002.jpg 0 0 1 1"],
        "list_landmarks_align_celeba.txt": ["2", "a b", "000001.jpg 0 0", "000002.jpg 0 0"],
        "list_attr_celeba.txt": ["2", "Bald Bangs", "000001.jpg 1 -1", "000002.jpg 1 1"],
    }
    for name, lines in tables.items():
        with (root / name).open("w") as stream:
            csv.writer(stream, delimiter=" ").writerows(line.split() for line in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.CelebA, "_check_integrity", lambda _self: True)
        with pytest.raises(UnlogitError, match=r"tensor\(\[1, 0\]\).* names no class"):
            open_images(f"torchvision:CelebA?root={tmp_path}")
        assert open_images(f"torchvision:CelebA?root={tmp_path}&target_type=identity").labels.tolist() == [7, 8]
