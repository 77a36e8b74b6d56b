"""`torchvision:NAME`: a classification dataset of torchvision, downloaded if it is not on this machine.

`torchvision:CIFAR10?split=test&root=data` reads the test images below the folder `data`, or downloads them there.
Without `root` they lie where torch keeps its own downloads (`~/.cache/torch/datasets`; TORCH_HOME moves it). Other
options are the set's own, as in `torchvision:EMNIST?split=letters&train=false`. Images in files are decoded when they
are asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

from unlogit import specs
from unlogit.errors import BrokenImage, UnlogitError, one_line, unknown
from unlogit.images._base import Hash, ImageSource, add_file
from unlogit.images._decoding import decode_file, upright
from unlogit.images._labels import classes
from unlogit.settings import Checked
from unlogit.specs import Spec

_NOT_OPTIONS = {"transform", "target_transform", "transforms", "download", "loader", "is_valid_file"}
_BASES = (datasets.VisionDataset, datasets.DatasetFolder, datasets.ImageFolder)


class TorchvisionImages(ImageSource):
    """Images of a torchvision set, which was given `_path` as its loader where it takes one."""

    def __init__(self, dataset: Any, from_files: bool, spec: str) -> None:
        self.spec = spec
        self._dataset = dataset
        self._from_files = from_files
        if not len(dataset):
            raise UnlogitError(f"{spec}: holds no images")
        names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None) or ()
        # ImageNet's are tuples of synonyms.
        names = [name if isinstance(name, str) else ", ".join(map(str, name)) for name in names]
        self._labels, self.class_names = classes(
            [_whole(label) for label in _targets(dataset, from_files)], spec, names
        )
        if not (self._labels >= 0).any():
            self.class_names = ()

    def __len__(self) -> int:
        return len(self._dataset)

    @property
    def labels(self) -> Tensor:
        return self._labels

    def decode(self, index: int) -> Tensor:
        name = f"{self.spec} image {index}"
        try:
            image, _ = self._dataset[index]
        except Exception as error:  # a set that opens its files itself hands on whatever Pillow raises
            raise BrokenImage(f"{name}: {one_line(error)}") from error
        return decode_file(image) if isinstance(image, Path) else upright(image, name)

    def _add_images(self, digest: Hash) -> None:
        files = [self._dataset[index][0] for index in range(len(self))] if self._from_files else []
        pixels = getattr(self._dataset, "data", None)
        root = getattr(self._dataset, "root", None)
        if files and all(isinstance(file, Path) for file in files):
            for file in files:
                add_file(digest, str(file), file)
        elif isinstance(pixels, (np.ndarray, Tensor)):
            digest.update(np.asarray(pixels).tobytes())
        elif root is not None:  # A set that opens its files by itself: all that lie where it does.
            for file in sorted(file for file in Path(root).rglob("*") if file.is_file()):
                add_file(digest, str(file.relative_to(root)), file)


def open_source(rest: str, spec: str) -> TorchvisionImages:
    classes = _datasets()
    name = Spec.parse(spec).name
    dataset_class = next((cls for each, cls in classes.items() if each.casefold() == name.casefold()), None)
    if dataset_class is None:
        raise unknown("torchvision dataset", name, classes)
    parameters = _parameters(dataset_class)
    takes = {"root", "split"} & parameters.keys() | parameters.keys() - _NOT_OPTIONS
    if "train" in takes and "split" not in takes:
        takes = takes - {"train"} | {"split"}
    fields = sorted((_option(key, parameters) for key in takes), key=len)  # Without a default first.
    options = make_dataclass("Options", fields, bases=(Checked,), frozen=True)
    parsed: Checked = specs.read(options, rest, spec)[1]
    arguments = {key: value for key, value in vars(parsed).items() if value is not None}
    root = arguments.pop("root", Path(torch.hub.get_dir()).parent / "datasets")
    if "split" in arguments and "split" not in parameters:
        arguments["train"] = arguments.pop("split") == "train"
    if "loader" in parameters:
        arguments["loader"] = Path  # which reads nothing: files are decoded by us, and labels had without
    try:
        dataset = _open(dataset_class, parameters, root, arguments, spec)
    except ModuleNotFoundError as error:
        raise UnlogitError(f"'{spec}' needs {error.name}: pip install {error.name}") from error
    return TorchvisionImages(dataset, "loader" in parameters, spec)


def _open(dataset_class: Callable[..., Any], parameters: Any, root: Path, arguments: dict[str, Any], spec: str) -> Any:
    """The set as it lies in `root`, or else as it can be downloaded to there."""
    downloads = "download" in parameters
    try:
        return dataset_class(root, **arguments, **({"download": False} if downloads else {}))
    except (ValueError, TypeError) as error:  # an option that is wrong or missing
        raise UnlogitError(f"{spec}: {one_line(error)}") from error
    except (RuntimeError, OSError) as error:
        if not downloads:
            raise UnlogitError(
                f"{spec}: {one_line(error)} (this dataset has no automatic download; looked in '{root}': "
                "give its folder as root=FOLDER)"
            ) from error
    try:
        return dataset_class(root, **arguments, download=True)
    except Exception as error:  # no network, a moved address, a full disk, a damaged archive: one remedy
        raise UnlogitError(
            f"{spec}: is not in '{root}', and could not be downloaded ({one_line(error)}); "
            "give its folder as root=FOLDER"
        ) from error


def _datasets() -> dict[str, type]:
    """Return the datasets of torchvision by name that return an image and a target, without videos."""
    every = {name: getattr(datasets, name) for name in datasets.__all__}
    takes = {name: _parameters(cls).keys() for name, cls in every.items() if inspect.isclass(cls)}
    return {
        name: every[name]
        for name, keys in takes.items()
        if {"root", "target_transform"} <= keys and "frames_per_clip" not in keys and every[name] not in _BASES
    }


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """What a class is made from, by name, that which it hands on to its bases as **kwargs included."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        own = inspect.signature(base).parameters if "__init__" in vars(base) else {}
        found = {name: p for name, p in own.items() if p.kind is not p.VAR_KEYWORD and name != "kwargs"} | found
        if own and not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            break
    return found


def _option(key: str, parameters: dict[str, inspect.Parameter]) -> tuple[Any, ...]:
    """Return a parameter as a field, of the type of its default; None leaves the argument out."""
    if key == "root":
        return key, Path | None, None
    if key not in parameters:  # A split that the set calls train=True or False.
        return key, Literal["train", "test"] | None, None
    default = parameters[key].default
    if isinstance(default, bool):
        return key, bool | None, None
    if isinstance(default, int) or default is None:
        return key, int | str | None, None
    return (key, str) if default is inspect.Parameter.empty else (key, str | None, None)


def _targets(dataset: Any, from_files: bool) -> Any:
    """One target an image, without decoding any where that can be."""
    if not from_files:
        for name in ("targets", "labels"):
            found = getattr(dataset, name, None)
            if found is not None and len(found) == len(dataset):
                return found
    return [_target(dataset, index) for index in range(len(dataset))]


def _target(dataset: Any, index: int) -> Any:
    try:
        return dataset[index][1]
    except OSError:  # a broken image, which is counted when it is asked for
        return None


def _whole(target: Any) -> object:
    """A number in whatever array as Python's own."""
    return target.item() if isinstance(target, (np.generic, Tensor)) and target.ndim == 0 else target
