"""`folder:PATH`: picture files, either all in one folder (no labels) or in one folder a class."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from unlogit.errors import UnlogitError
from unlogit.images._base import ImageSource
from unlogit.images._decoding import decode_file


class FolderImages(ImageSource):
    """Picture files, ordered by class and name; hidden files and those without a picture's suffix are left out.

    Folders within `root` that hold pictures, at any depth, are the classes, in the order of their names. Where there
    are none, the pictures in `root` itself are taken, without labels.
    """

    def __init__(self, root: Path, spec: str) -> None:
        self.spec = spec
        self._root = root
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        classes = {folder.name: files for folder in folders if (files := _pictures(folder, deep=True))}
        flat = _pictures(root, deep=False)
        if flat and classes:
            raise UnlogitError(
                f"{spec}: holds both pictures ({flat[0].name}) and folders of pictures ({next(iter(classes))}); "
                "keep either pictures alone or one folder a class"
            )
        if not flat and not classes:
            raise UnlogitError(f"{spec}: holds no pictures; known suffixes are {', '.join(_suffixes()[:6])} and others")
        self.class_names = tuple(classes)
        self._files = flat or [file for files in classes.values() for file in files]
        labels = [label for label, files in enumerate(classes.values()) for _ in files]
        self._labels = torch.tensor(labels or [-1] * len(flat), dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def labels(self) -> Tensor:
        return self._labels

    def decode(self, index: int) -> Tensor:
        return decode_file(self._files[index])

    def fingerprint(self) -> str:
        """Of the files' names, sizes and dates: reading them all would be slow."""
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(str(file.relative_to(self._root)).encode())
            with contextlib.suppress(OSError):  # a link that leads nowhere is one more broken picture
                stat = file.stat()
                digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        return f"{self.spec}#{len(self)}#{digest.hexdigest()[:16]}"


def open_source(rest: str, spec: str) -> FolderImages:
    root = Path(rest).expanduser()
    if not rest or not root.is_dir():
        fix = f"; for one file, give its folder 'folder:{root.parent}'" if rest and root.is_file() else ""
        raise UnlogitError(f"{spec}: '{rest}' is not a folder{fix}; write it as folder:PATH")
    return FolderImages(root, spec)


def _suffixes() -> list[str]:
    """The suffixes of what Pillow can open as a picture, commonest first."""
    common = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"]
    documents = {".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".h5", ".hdf"}  # listed by Pillow, but no pictures to it
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return common + sorted(known - documents - set(common))


def _pictures(folder: Path, deep: bool) -> list[Path]:
    """The visible picture files in a folder, with `deep` in the visible folders within it too, sorted."""
    suffixes = set(_suffixes())
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if deep and not name.startswith(".")]
        found += [
            Path(place, name) for name in files if not name.startswith(".") and Path(name).suffix.lower() in suffixes
        ]
    return sorted(found)
