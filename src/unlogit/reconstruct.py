"""What an inverter makes of given photos: a file for each, and one grid of them all beside the originals."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import torch
import tyro
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.files import replacing
from unlogit.images import View, decode
from unlogit.inverters import Inverter, open_inverter

DEFAULT_INVERTER = "efficientnet_lite0"
GRID = "grid"
CHUNK = 64
"""Photos inverted at a time."""
SHOWN = View(256)
"""How originals stand in the grid; the inverter is given them at its own size."""
PAIRS_IN_A_ROW = 3
INK, KEPT = "#444444", "#16915d"


@dataclass(frozen=True)
class ReconstructConfig:
    """Reconstruct photos from what a classifier keeps of them."""

    photos: tyro.conf.Positional[tuple[Path, ...]]
    """Picture files; the middle square of each is taken."""
    out: Path
    """Folder for NAME.png, the reconstruction alone, of each photo, and grid.png."""
    inverter: str = DEFAULT_INVERTER
    """One that comes with unlogit (see: unlogit list inverters), or a folder such as RUN/inverter."""
    method: str | None = None
    """Instead of an inverter, a method that needs no training (see: unlogit list methods), with --classifier."""
    classifier: str | None = None
    """Whose representation that method inverts, as source:name."""
    options: str = ""
    """More of the method's options, such as 'tap=penultimate&steps=200&size=32'."""
    seed: int = 0
    """Of the noise, which is the same for every photo."""

    def __post_init__(self) -> None:
        if not self.photos:
            raise UnlogitError("no photo given: write unlogit reconstruct PHOTO... --out FOLDER")
        for photo in self.photos:
            if photo.is_dir():
                raise UnlogitError(f"photo '{photo}' is a folder: give the files in it, such as {photo}/*.jpg")
            if not photo.is_file():
                raise UnlogitError(f"photo '{photo}': no such file")
        if self.seed < 0:
            raise UnlogitError(f"seed {self.seed}: must not be negative")
        if (self.method is None) != (self.classifier is None):
            raise UnlogitError("--method and --classifier belong together: give both, or an --inverter alone")
        if self.options and self.method is None:
            raise UnlogitError("--options are a method's: give --method and --classifier too")

    @property
    def opened(self) -> str:
        """What `open_inverter` is asked for."""
        if self.method is None or self.classifier is None:
            return self.inverter
        return f"{self.method}:?classifier={quote(self.classifier, safe='/:?=,')}&{self.options}"


@dataclass(frozen=True)
class Reconstruction:
    """One photo's.

    Attributes:
        photo, file: where it came from and where it was written.
        original, reconstructed: the class that the classifier sees in either.
        pictures: the middle square of the photo, 3 x 256 x 256, and the reconstruction, 3 x S x S, in [0, 1].
    """

    photo: Path
    file: Path
    original: str
    reconstructed: str
    pictures: tuple[Tensor, Tensor]


def reconstruct(config: ReconstructConfig) -> tuple[list[Reconstruction], list[BrokenImage]]:
    """Write NAME.png for each photo, and grid.png of them all, into `config.out`.

    Returns:
        what was made, and for the photos that cannot be decoded, why.

    Raises:
        UnlogitError: no such inverter, no photo that can be decoded, or one that would be written over. Nothing is
            written then.
    """
    targets = _targets(config.photos, config.out)
    inverter = open_inverter(config.opened)
    noise = inverter.sample_noise(1, torch.Generator().manual_seed(config.seed))
    found, broken = [], []
    for photo, target in zip(config.photos, targets, strict=True):
        try:
            found.append((photo, target, decode(photo.read_bytes(), str(photo))))
        except BrokenImage as error:
            broken.append(error)
    if not found:
        raise UnlogitError(f"none of the {len(broken)} photos can be decoded ({broken[0]})")
    made = []
    for start in range(0, len(found), CHUNK):
        chunk = found[start : start + CHUNK]
        seen = View(inverter.size).apply([picture for _, _, picture in chunk])
        results = inverter.reconstruct(seen, None if noise is None else noise.expand(len(seen), *noise.shape[1:]))
        before, after = _classes(inverter, seen), _classes(inverter, results)
        made += [
            Reconstruction(photo, target, before[i], after[i], (SHOWN.apply([picture])[0], results[i]))
            for i, (photo, target, picture) in enumerate(chunk)
        ]
    for one in made:
        with replacing(one.file) as fresh:
            to_pil_image(one.pictures[1]).save(fresh, "PNG")
    with replacing(config.out / f"{GRID}.png") as fresh:
        _grid(made, inverter).savefig(fresh, format="png")
    return made, broken


def _targets(photos: Sequence[Path], out: Path) -> list[Path]:
    """A file in `out` for each photo, after its stem; stems that come again get a number."""
    taken, targets = {GRID}, []
    for photo in photos:
        name, number = photo.stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{photo.stem}-{number}"
        taken.add(name.casefold())
        targets.append(out / f"{name}.png")
    originals = {photo.resolve() for photo in photos}
    for target in (*targets, out / f"{GRID}.png"):
        if target.resolve() in originals:
            raise UnlogitError(f"photo '{target}' would be written over: give another --out")
    return targets


@torch.no_grad()
def _classes(inverter: Inverter, images: Tensor) -> list[str]:
    """The first of each predicted class's synonyms."""
    classifier = inverter.representation.classifier
    return [classifier.class_names[k].split(",")[0] for k in classifier(images).argmax(1).tolist()]


def _grid(made: Sequence[Reconstruction], inverter: Inverter) -> Figure:
    """Pairs (photo | reconstruction), each with the class that is seen in it, and below what made them."""
    across = min(PAIRS_IN_A_ROW, len(made))
    down = -(-len(made) // across)
    figure = Figure(figsize=(4.2 * across, 2.4 * down + 0.4), dpi=120, facecolor="white", layout="constrained")
    axes = figure.subplots(down, 2 * across, squeeze=False).flatten()
    for ax in axes[2 * len(made) :]:
        ax.set_axis_off()
    cells = [cell for one in made for cell in zip(one.pictures, (one.original, one.reconstructed), strict=True)]
    for place, (ax, (picture, word)) in enumerate(zip(axes, cells, strict=False)):
        one = made[place // 2]
        ax.imshow(picture.permute(1, 2, 0).numpy(), interpolation="bicubic")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        kept = one.original == one.reconstructed
        ax.set_xlabel(textwrap.fill(word, 24), fontsize=10, color=KEPT if kept else INK)
    source = inverter.representation
    aids = f"; aids: {', '.join(inverter.aids)}" if inverter.aids else ""
    told = (
        f"Photo, and what {inverter.name} makes of the {source.tap} of {source.classifier.spec} for it at "
        f"{inverter.size} px{aids}. Below each is the class predicted for it, green where it is kept."
    )
    figure.supxlabel(textwrap.fill(told, 72 * across), fontsize=8, color=INK)
    return figure
