"""What an inverter makes of representations in a file, for whoever has logits and no images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from unlogit.errors import UnlogitError, one_line
from unlogit.files import check_replaceable, recover, report_disk_full, signed, write_png
from unlogit.methods import DEFAULT_INVERTER, called, open_inverter
from unlogit.outside import plain, short_names
from unlogit.runtime.progress import announce, announce_torch
from unlogit.settings import Checked, Seed

if TYPE_CHECKING:
    from torch import Tensor

GRID = "grid"
CHUNK = 64
"""Rows inverted at a time."""
SHOWN = 120
"""Most reconstructions in the grid."""
ACROSS = 12
FORMATS = "a .npy array of N x K numbers, or a .csv file of N lines with K numbers each"


@dataclass(frozen=True)
class InvertConfig(Checked):
    """Reconstruct images from a file of logits or of another representation."""

    file: tyro.conf.Positional[Path]
    """File of representations, as the classifier returns them, not standardised: a .npy array of N x K numbers, or a
    .csv file of N lines with K numbers each."""
    out: Path = Path("inverted")
    """Folder for one PNG per row, named by the index of the row from 0, and for grid.png, which shows them together."""
    inverter: str = DEFAULT_INVERTER
    """Inverter: the name of a packaged one (see: unlogit list inverters) or a folder such as RUN/inverter."""
    seed: Seed = 0
    """Random seed of the noise, which is the same for every row."""
    device: str = "auto"
    """Device to run on: "auto", "cpu", "cuda", "cuda:1" or "mps". "auto" is a CUDA GPU if there is one, else the
    CPU."""
    trust_code: bool = False
    """Allow the opened folder to name a classifier that runs code (python:)."""


@dataclass(frozen=True)
class Inverted:
    """The reconstruction of one row.

    Attributes:
        file: where it was written.
        given, reconstructed: name of the likeliest class in the row and for the reconstruction; None where the inverter
            does not read logits.
    """

    file: Path
    given: str | None
    reconstructed: str | None


def invert(config: InvertConfig) -> list[Inverted]:
    """Write one PNG per row, and grid.png of the first of them, into `config.out`.

    Raises:
        UnlogitError: no such file or inverter, a file that is no table of numbers or has another number of columns than
            the representation, a file in the place of a result that this program did not write (nothing is written
            then), or a full disk.
    """
    announce_torch()
    import torch

    from unlogit.images import to_bytes
    from unlogit.runtime.device import pick_device

    raw = read(config.file)
    device = pick_device(config.device)
    inverter = open_inverter(called(config.inverter)[1], config.trust_code).to(device)
    classifier = inverter.representation.classifier
    of_logits = inverter.representation.layer == "logits"
    if of_logits and bool((raw >= 0).all()) and torch.allclose(raw.sum(1), torch.ones(len(raw)), atol=1e-3):
        raise UnlogitError(f"'{plain(str(config.file))}' holds probabilities: give the logits before the softmax")
    width = len(str(len(raw) - 1))
    files = [config.out / f"{row:0{width}d}.png" for row in range(len(raw))]
    for file in (*files, config.out / f"{GRID}.png"):
        check_replaceable(file, signed)
    announce(f"reconstructing from {'1 row' if len(raw) == 1 else f'{len(raw):,} rows'} by {inverter.name}")
    images, reencoded = [], []
    for part in raw.split(CHUNK):
        images.append(inverter.invert(part.to(device), seed=config.seed))
        with torch.no_grad():
            reencoded.append(classifier(images[-1]).argmax(1))
    pixels, after = to_bytes(torch.cat(images).cpu()), torch.cat(reencoded).tolist()
    names = short_names(classifier.class_names)
    before = raw.argmax(1).tolist()
    made = [
        Inverted(file, *((names[before[row]], names[after[row]]) if of_logits else (None, None)))
        for row, file in enumerate(files)
    ]
    recover(config.out)
    with report_disk_full(config.out):
        for image, file in zip(pixels, files, strict=True):
            write_png(image, file)
        write_png(_grid(pixels[:SHOWN]), config.out / f"{GRID}.png")
    return made


def read(file: Path) -> Tensor:
    """Return the representations of a file, float32, N x K; raise `UnlogitError` where it holds something else."""
    import numpy as np
    import torch

    what = f"'{plain(str(file))}'"
    if not file.is_file():
        raise UnlogitError(f"{what}: no such file, or not a regular one; give {FORMATS}")
    try:
        if file.suffix.lower() == ".npy":
            values = np.load(file, allow_pickle=False)
        elif file.suffix.lower() == ".csv":
            values = np.loadtxt(file, np.float32, delimiter=",", ndmin=2)
        else:
            raise UnlogitError(f"{what}: must be {FORMATS}")
    except (OSError, ValueError, EOFError) as error:
        raise UnlogitError(f"{what} cannot be read ({one_line(error, 120)}): must be {FORMATS}") from error
    if values.ndim != 2 or not len(values) or values.dtype.kind not in "fiu":
        fix = f"; for one row save values[None], of shape (1, {len(values)})" if values.ndim == 1 else ""
        raise UnlogitError(f"{what} holds {values.dtype} of shape {values.shape}: must be {FORMATS}{fix}")
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _grid(pixels: Tensor) -> Tensor:
    """Return reconstructions side by side, enlarged to at least 128 px each, uint8, 3 x H x W."""
    from torchvision.utils import make_grid

    factor = max(1, -(-128 // pixels.shape[-1]))
    enlarged = pixels.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    return make_grid(enlarged, nrow=min(ACROSS, len(pixels)), padding=4, pad_value=255)
