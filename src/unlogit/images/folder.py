"""`folder:PATH`: image files, either all in one folder (without labels) or in one folder per class."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from unlogit.errors import UnlogitError
from unlogit.images._base import Hash, ImageSource, add_file
from unlogit.images._decoding import UNREADABLE, decode_file, is_image, suffixes
from unlogit.images._inventory import Inventory
from unlogit.outside import encodable, in_order, plain


class FolderImages(ImageSource):
    """Image files, ordered by class and name.

    Folders within `root` that hold images, at any depth, are the classes, in the order of their names: by value where
    all are whole numbers, else alphabetically. Where there are none, the images in `root` itself are taken, without
    labels. Links to files and folders are followed. A file without a suffix is taken where its content is an image;
    hidden files, other suffixes and what is no regular file are left out and counted (see `inventory`).
    """

    def __init__(self, root: Path, spec: str) -> None:
        self.spec = spec
        self._root = root
        scan = _Scan(root)
        flat = sorted(scan.files(root, deep=False))
        folders = [name for name in scan.folders if (root / name).is_dir()]
        classes = {name: files for name in in_order(folders) if (files := scan.class_files(root / name))}
        shown = plain(spec)
        if flat and classes:
            raise UnlogitError(
                f"{shown}: holds both images ({plain(flat[0])}) and folders of images ({plain(next(iter(classes)))}"
                "); keep either only images or only one folder per class"
            )
        if not flat and not classes:
            seen = f" ({scan.inventory.summary()})" if scan.inventory.seen else ""
            examples = ", ".join(suffixes()[:6])
            raise UnlogitError(f"{shown}: holds no images; known suffixes are {examples} and others{seen}")
        self.class_names = tuple(map(encodable, classes))
        self._files = flat or [file for files in classes.values() for file in files]
        labels = [label for label, files in enumerate(classes.values()) for _ in files]
        self._labels = torch.tensor(labels or [-1] * len(flat), dtype=torch.int64)
        scan.inventory.taken = len(self)
        self.inventory = scan.inventory

    def __len__(self) -> int:
        return len(self._files)

    @property
    def labels(self) -> Tensor:
        return self._labels

    def decode(self, index: int) -> Tensor:
        return decode_file(self._root / self._files[index])

    def _add_images(self, digest: Hash) -> None:
        for file in self._files:
            add_file(digest, file, self._root / file)


def open_source(rest: str, spec: str) -> FolderImages:
    root = Path(rest).expanduser()
    if not rest or not root.is_dir():
        fix = f"; for one file, give its folder 'folder:{root.parent}'" if rest and root.is_file() else ""
        raise UnlogitError(f"{plain(spec)}: '{plain(rest)}' is not a folder{plain(fix)}; write it as folder:PATH")
    return FolderImages(root, spec)


class _Scan:
    """One pass over a folder: what is an image, and why the rest is not.

    Attributes:
        folders: names of the visible folders in the root.
    """

    def __init__(self, root: Path) -> None:
        self.inventory = Inventory("files")
        self.folders: list[str] = []
        self._root = root
        self._prefix = f"{root}{os.sep}".replace(os.sep * 2, os.sep)  # Paths below it are cut faster as text.
        self._suffixes = set(suffixes())
        self._visited: set[tuple[int, int]] = set()

    def class_files(self, folder: Path) -> list[str]:
        """The images of a class, sorted by folder and name, as paths from the root."""
        # Each folder is read once a class, so that links that lead back end, and those that lead crosswise do not
        # multiply; the same folder may still be linked into several classes.
        self._visited = {_identity(self._root)}
        return sorted(self.files(folder, deep=True), key=lambda file: Path(file).parts)

    def files(self, folder: Path | str, deep: bool) -> Iterator[str]:
        """The images in a folder, with `deep` those in the folders within it too, as paths from the root."""
        folders, links = [str(folder)], list[str]()
        while folders or links:
            index = folders.pop() if folders else links.pop()
            try:
                if deep and (which := _identity(index)) in self._visited:
                    self._leave_out("folder linked again", index)
                    continue
                elif deep:
                    self._visited.add(which)
                with os.scandir(index) as scanned:
                    entries = sorted(scanned, key=lambda entry: entry.name, reverse=True)
            except OSError as error:
                self._leave_out(f"folder not readable: {error.strerror}", index)
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    self._leave_out("hidden", entry.path)
                elif entry.is_dir():
                    if not deep:
                        self.folders.append(entry.name)
                    elif entry.is_symlink():
                        links.append(entry.path)
                    else:
                        folders.append(entry.path)
                elif self._takes(entry):
                    yield self._relative(entry.path)

    def _takes(self, entry: os.DirEntry[str]) -> bool:
        suffix = Path(entry.name).suffix.lower()
        try:
            regular = stat.S_ISREG(entry.stat().st_mode)
        except OSError:
            # A link that leads nowhere, or in a circle: a broken image, since there was one once.
            regular = suffix in self._suffixes
        if not regular:
            self._leave_out("not a regular file", entry.path)
        elif suffix in self._suffixes:
            return True
        elif suffix in UNREADABLE:
            self._leave_out(f"in a format that Pillow does not decode here ({suffix})", entry.path)
        elif suffix:
            self._leave_out(f"not an image ({plain(suffix)})", entry.path)
        else:
            try:
                if is_image(Path(entry.path)):
                    return True
                self._leave_out("not an image (no suffix, and not by content)", entry.path)
            except OSError as error:
                self._leave_out(f"not readable: {error.strerror}", entry.path)
        return False

    def _leave_out(self, reason: str, path: str) -> None:
        self.inventory.leave_out(reason, self._relative(path))

    def _relative(self, path: str) -> str:
        return path.removeprefix(self._prefix)


def _identity(folder: str | Path) -> tuple[int, int]:
    status = Path(folder).stat()
    return status.st_dev, status.st_ino
