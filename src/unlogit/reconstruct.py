"""What an inverter makes of given photos: a file for each, and one grid of them all beside the originals."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from unlogit import photos as packaged
from unlogit.errors import BrokenImage, UnlogitError
from unlogit.files import SIGNATURE, check_replaceable, recover, replacing, report_disk_full, signed, write_png
from unlogit.methods import DEFAULT_INVERTER, Sight, called, open_inverter
from unlogit.outside import MAX_FILE_NAME, file_name, plain, short_names
from unlogit.runtime.progress import announce, announce_torch
from unlogit.settings import Checked, Seed
from unlogit.specs import Spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from unlogit.methods import Inverter

GRID = "grid"
CHUNK = 64
"""Photos inverted at a time."""
SHOWN = 256
"""Side of the originals in the grid, in pixels."""
CELLS_IN_A_ROW = 6


@dataclass(frozen=True)
class ReconstructConfig(Checked):
    """Reconstruct photos from a classifier's logits, and show them beside the originals."""

    photos: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Image files to reconstruct. The centre square of each is used."""
    out: Path = Path("reconstructions")
    """Folder for the reconstruction of each photo, NAME.png (NAME-INVERTER.png with several inverters), and for
    grid.png, which shows photos and reconstructions side by side."""
    example: bool = False
    """Also reconstruct the sample photos that come with unlogit."""
    inverter: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Inverter: the name of a packaged one (see: unlogit list inverters) or a folder such as RUN/inverter;
    NAME=INVERTER sets the name shown. Can be given several times. Default: efficientnet_lite0."""
    method: str | None = None
    """Method that needs no training (see: unlogit list methods), to use instead of an inverter; needs --classifier."""
    classifier: str | None = None
    """Classifier that --method inverts, as source:name."""
    options: str = ""
    """Options of --method, such as 'layer=penultimate&steps=200&size=32'."""
    view: Sight = "classifier"
    """Size at which the classifier is given a photo: "classifier" is its own input size; "training" is the size of the
    reconstructions, as in training."""
    seed: Seed = 0
    """Random seed of the noise, which is the same for every photo."""
    device: str = "auto"
    """Device to run on: "auto", "cpu", "cuda", "cuda:1" or "mps". "auto" is a CUDA GPU if there is one, else the
    CPU."""
    trust_code: bool = False
    """Allow opened folders to name classifiers that run code (python:). Sources named in the options are always
    allowed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.files:
            raise UnlogitError("no photo given: write unlogit reconstruct PHOTO..., or unlogit reconstruct --example")
        for photo in self.photos:
            if photo.is_dir():
                raise UnlogitError(f"photo '{photo}' is a folder: give the files in it, such as {photo}/*.jpg")
            if not photo.is_file():
                raise UnlogitError(f"photo '{photo}': no such file, or not a regular one")
        if (self.method is None) != (self.classifier is None):
            raise UnlogitError("--method and --classifier belong together: give both, or an --inverter alone")
        if self.inverter and self.method is not None:
            raise UnlogitError("--inverter and --method cannot be combined: give one of them")
        if self.options and self.method is None:
            raise UnlogitError("--options needs a method: give --method and --classifier too")

    @property
    def files(self) -> tuple[Path, ...]:
        """All image files to reconstruct."""
        return (*self.photos, *(packaged.paths() if self.example else ()))

    @property
    def opened(self) -> dict[str, str]:
        """Arguments of `open_inverter`, by the names under which the inverters are shown."""
        if self.method is None or self.classifier is None:
            named = [called(argument) for argument in self.inverter or (DEFAULT_INVERTER,)]
            if len({name.casefold() for name, _ in named}) < len(named):
                raise UnlogitError(
                    f"two inverters called {named[-1][0]}: name them, as --inverter one={named[0][1]} "
                    f"--inverter two={named[-1][1]}"
                )
            return dict(named)
        spec = Spec.parse(f"{self.method}:?{self.options}")
        if spec.name:
            raise UnlogitError(f"--options '{plain(self.options)}': must be option=value, joined by &")
        return {self.method: str(replace(spec, name=self.classifier))}


@dataclass(frozen=True)
class Reconstruction:
    """Reconstruction of one photo by one inverter.

    Attributes:
        photo, file: files of the photo and of the reconstruction.
        original, reconstructed: names of the classes that the inverter's classifier predicts for them.
        kept: whether it is the same class; classes that share a name have their index after it.
        shown: the centre square of the photo, 3 x 256 x 256 in [0, 1].
        image: the reconstruction, 3 x S x S in [0, 1].
    """

    photo: Path
    file: Path
    original: str
    reconstructed: str
    kept: bool
    shown: Tensor
    image: Tensor


def reconstruct(config: ReconstructConfig) -> tuple[list[Reconstruction], list[BrokenImage], str]:
    """Write NAME.png for each photo, and grid.png of them all, into `config.out`.

    Returns:
        the reconstructions, photo by photo; the errors of photos that cannot be decoded; and the size at which the
        classifier reads photos.

    Raises:
        UnlogitError: there is no such inverter, no photo can be decoded, an existing file that unlogit did not write
            would be replaced (nothing is written then), or the disk is full.
    """
    announce_torch()
    from unlogit.images import View, decode_file, to_bytes
    from unlogit.runtime.device import pick_device

    opened = config.opened
    targets = _targets(config.files, config.out, list(opened))
    device = pick_device(config.device)
    inverters = {name: open_inverter(source, config.trust_code).to(device) for name, source in opened.items()}
    decoded_photos, broken = [], []
    for photo, files in zip(config.files, targets, strict=True):
        try:
            decoded_photos.append((photo, files, decode_file(photo)))
        except BrokenImage as error:
            broken.append(error)
    if not decoded_photos:
        raise UnlogitError(f"none of the {len(broken)} photos can be decoded ({broken[0]})")
    photos = "1 photo" if len(decoded_photos) == 1 else f"{len(decoded_photos):,} photos"
    announce(f"reconstructing {photos} by {', '.join(inverters)}")
    reconstructions, shown = [], View(SHOWN)
    for start in range(0, len(decoded_photos), CHUNK):
        chunk = decoded_photos[start : start + CHUNK]
        decoded = [image for _, _, image in chunk]
        results = [_invert(inverter, decoded, config.seed, config.view) for inverter in inverters.values()]
        reconstructions += [
            Reconstruction(
                photo,
                files[which],
                names[before[i]],
                names[after[i]],
                before[i] == after[i],
                shown.apply([image])[0],
                images[i],
            )
            for i, (photo, files, image) in enumerate(chunk)
            for which, (images, names, before, after) in enumerate(results)
        ]
    recover(config.out)
    with report_disk_full(config.out):
        for one in reconstructions:
            write_png(to_bytes(one.image), one.file)
        with replacing(config.out / f"{GRID}.png", signed) as fresh:
            _grid(reconstructions, inverters, config.view).savefig(fresh, format="png", metadata=SIGNATURE)
    return reconstructions, broken, describe_view(inverters, config.view)


def _invert(
    inverter: Inverter, images: Sequence[Tensor], seed: int, view: Sight
) -> tuple[Tensor, tuple[str, ...], list[int], list[int]]:
    """Reconstructions from the same noise, the names of the classes, and the class of each image and of each."""
    results = inverter.reconstruct(images, seed=seed, view=view)
    names = short_names(inverter.representation.classifier.class_names)
    before = [index for seen in inverter.views(images, view) for index in _classes(inverter, seen)]
    return results.cpu(), names, before, _classes(inverter, results)


def describe_view(inverters: Mapping[str, Inverter], view: Sight) -> str:
    """Return at which size the photos reached the classifiers, in words."""
    whose = {"classifier": "its input size", "training": "the inverter's size, as in training"}[view]
    sizes = {name: inverter.side(view) for name, inverter in inverters.items()}
    if len(set(sizes.values())) == 1:
        return f"The classifier is given the photo at {next(iter(sizes.values()))} px, {whose}."
    listed = ", ".join(f"{size} px ({name})" for name, size in sizes.items())
    return f"The classifier is given the photo at {listed}, {whose}."


def _targets(photos: Sequence[Path], out: Path, inverters: Sequence[str]) -> list[list[Path]]:
    """Files in `out` for each photo, one an inverter, after its stem; stems that come again get a number."""
    endings = [""] if len(inverters) == 1 else [f"-{name}" for name in inverters]
    taken, targets = {GRID}, []
    for photo in photos:
        names, number = [_file(photo.stem, ending) for ending in endings], 1
        while taken & {name.casefold() for name in names}:
            number += 1
            names = [_file(photo.stem, f"-{number}{ending}") for ending in endings]
        taken |= {name.casefold() for name in names}
        targets.append([out / f"{name}.png" for name in names])
    originals = {photo.resolve() for photo in photos}
    for target in (*(file for files in targets for file in files), out / f"{GRID}.png"):
        if target.resolve() in originals:
            raise UnlogitError(f"photo '{target}' would be overwritten: give another --out")
        check_replaceable(target, signed)
    return targets


def _file(stem: str, ending: str) -> str:
    """The name of a file after its photo, which is shortened where the file system would not take both."""
    ending = file_name(ending) if ending else ""
    room = MAX_FILE_NAME - len(ending)
    return (stem if len(os.fsencode(stem)) <= room else file_name(stem)[: room // 4]) + ending


def _classes(inverter: Inverter, images: Tensor) -> list[int]:
    """Return the index of the predicted class of each image."""
    import torch

    with torch.no_grad():
        predicted: list[int] = inverter.representation.classifier(images).argmax(1).tolist()
    return predicted


def _grid(reconstructions: Sequence[Reconstruction], inverters: Mapping[str, Inverter], view: Sight) -> Figure:
    """Return rows of photos and their reconstructions, each with its predicted class, and below what made them."""
    from unlogit.drawing import INK, Block, sheet, style
    from unlogit.images import to_bytes

    count = len(inverters)
    photos = [reconstructions[i : i + count] for i in range(0, len(reconstructions), count)]
    across = min(max(1, CELLS_IN_A_ROW // (1 + count)), len(photos))
    blocks = []
    for column in (photos[start::across] for start in range(across)):
        # Classifiers may differ about the photo; each reconstruction is compared with its own's answer.
        predicted = [" | ".join(dict.fromkeys(one.original for one in group)) for group in column]
        blocks.append(
            Block(
                "",
                INK,
                ("photo", *inverters),
                [[to_bytes(group[0].shown), *(to_bytes(one.image) for one in group)] for group in column],
                tuple((word, *(o.reconstructed for o in g)) for word, g in zip(predicted, column, strict=True)),
                tuple((any(one.kept for one in group), *(one.kept for one in group)) for group in column),
            )
        )
    with style():
        note = f"{_describe(inverters)} {describe_view(inverters, view)}"
        figure = sheet(blocks, across, note=note, smooth=True)
    figure.set_facecolor("white")
    return figure


def _describe(inverters: Mapping[str, Inverter]) -> str:
    parts = [
        f"{name} from {one.representation.layer} of {one.representation.classifier.spec} at {one.size} px"
        for name, one in inverters.items()
    ]
    # In a dictionary for their order, each once.
    deviations = ", ".join(dict.fromkeys(deviation for one in inverters.values() for deviation in one.deviations))
    description = (
        f"Photo and reconstruction by {', '.join(parts)}{f'; deviations: {deviations}' if deviations else ''}."
    )
    return f"{description} Below each is its predicted class, green if the class is kept."
