import os

import pytest
from PIL import Image

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import Loader, View, open_images


def save(path, red: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (red, 0, 0)).save(path)


def reds(source) -> list[int]:
    return [round(int(source.decode(i)[0, 0, 0]) / 10) * 10 for i in range(len(source))]


def test_flat(tmp_path):
    for name, red in (("b.png", 20), ("a.jpg", 10), ("c.BMP", 30), (".hidden.png", 90)):
        save(tmp_path / name, red)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "d.png").mkdir()  # an empty folder, whatever its name
    source = open_images(f"folder:{tmp_path}")
    assert len(source) == 3 and reds(source) == [10, 20, 30]
    assert source.labels.tolist() == [-1, -1, -1] and source.class_names == ()


def test_one_folder_a_class(tmp_path):
    for name, red in (("dog/a.png", 30), ("cat/b.png", 20), ("cat/a.png", 10), ("dog/deep/er/b.png", 40)):
        save(tmp_path / name, red)
    for name in (".git/a.png", "cat/.thumbs/a.png"):
        save(tmp_path / name, 90)
    (tmp_path / "empty").mkdir()
    (tmp_path / "README.md").write_text("no image")
    source = open_images(f"folder:{tmp_path}")
    assert source.class_names == ("cat", "dog")
    assert source.labels.tolist() == [0, 0, 1, 1] and reds(source) == [10, 20, 30, 40]


def test_a_hidden_folder_above_does_not_hide(tmp_path):
    save(tmp_path / ".cache" / "photos" / "a.png", 10)
    assert len(open_images(f"folder:{tmp_path}/.cache/photos")) == 1


def test_broken_and_vanished_files_are_skipped_and_counted(tmp_path):
    for i in range(4):
        save(tmp_path / f"{i}.png", 10 * i)
    (tmp_path / "1.png").write_bytes(b"junk")
    source = open_images(f"folder:{tmp_path}")
    (tmp_path / "2.png").unlink()
    for index in (1, 2):
        with pytest.raises(BrokenImage, match=rf"{index}\.png: "):
            source.decode(index)
    loader = Loader(source, View(4), 2, seed=0)
    assert [b.indices.tolist() for b in loader.once()] == [[0], [3]]
    assert set(loader.source.broken.reasons) == {1, 2}


def test_a_link_that_leads_nowhere_is_a_broken_image(tmp_path):
    save(tmp_path / "a.png", 10)
    (tmp_path / "b.png").symlink_to(tmp_path / "absent.png")
    source = open_images(f"folder:{tmp_path}")
    assert len(source) == 2 and source.fingerprint()
    with pytest.raises(BrokenImage, match=r"b\.png: No such file"):
        source.decode(1)


def test_the_fingerprint_follows_the_files(tmp_path):
    save(tmp_path / "a.png", 10)
    first = open_images(f"folder:{tmp_path}").fingerprint()
    assert open_images(f"folder:{tmp_path}").fingerprint() == first
    os.utime(tmp_path / "a.png", (1, 1))
    touched = open_images(f"folder:{tmp_path}").fingerprint()
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    renamed = open_images(f"folder:{tmp_path}").fingerprint()
    assert len({first, touched, renamed}) == 3


def test_wrong_folders(tmp_path):
    with pytest.raises(UnlogitError, match=r"holds no images; known suffixes are \.jpg"):
        open_images(f"folder:{tmp_path}")
    with pytest.raises(UnlogitError, match="'' is not a folder; write it as folder:PATH"):
        open_images("folder:")
    with pytest.raises(UnlogitError, match="is not a folder; write"):
        open_images(f"folder:{tmp_path}/absent")
    save(tmp_path / "a.png", 10)
    with pytest.raises(UnlogitError, match=f"for one file, give its folder 'folder:{tmp_path}'"):
        open_images(f"folder:{tmp_path}/a.png")
    save(tmp_path / "cat" / "b.png", 10)
    with pytest.raises(UnlogitError, match=r"both images \(a\.png\) and folders of images \(cat\)"):
        open_images(f"folder:{tmp_path}")
