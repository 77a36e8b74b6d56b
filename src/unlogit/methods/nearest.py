"""The floor without a network: of all training images, the one whose representation is nearest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor
from tqdm import tqdm

from unlogit import specs
from unlogit.classifiers import open_classifier
from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import ImageSource, Loader, View, open_images
from unlogit.methods._inverter import Inverter
from unlogit.representation import Representation, RepresentationCache
from unlogit.representation.layers import Layer
from unlogit.settings import Bounds, Checked, Count

CHUNK = 64
"""Images encoded at a time."""
CALIBRATION_IMAGES = 2_048
ROWS = 8_192
"""Representations compared at a time: 33 MB for a thousand logits."""


@dataclass(frozen=True)
class Options(Checked):
    """What a nearest neighbour is made of where it is opened by its name."""

    classifier: str
    """Whose representation is compared, as source:name."""
    images: str
    """The images to answer with, as source:name."""
    layer: str = "logits"
    size: Annotated[int, Bounds(8, 4_096)] = 64
    """Side of the images in pixels."""
    limit: Count | None = None
    """So many images, spread at random over the source."""
    cache: Path = Path("runs/cache")
    """Folder where the classifier's outputs are kept."""


class NearestNeighbour(Inverter):
    """Answers with the image of `source` whose standardised representation is nearest, by Euclidean distance.

    Keeps representations as float16 and indices alone; answers are decoded again. It has no noise, and its answer is
    always a real image: it shows how much of a reconstruction could be had by looking up.

    Args:
        representation: standardised as the compared inverter's is, for distances to mean the same.
        source: training images.
        view: as in training, so that its cached representations are used again; answers are centred, not flipped.
        limit: this many images, spread at random over the source; None takes all.
        cache: folder of `RepresentationCache`; None computes all of them now.
    """

    rows: Tensor
    squares: Tensor
    indices: Tensor

    def __init__(
        self,
        representation: Representation,
        source: ImageSource,
        view: View,
        limit: int | None = None,
        cache: Path | None = None,
        name: str = "nearest neighbour",
    ) -> None:
        super().__init__()
        self.name = name
        self.representation = representation
        self.source = source
        self.size = view.size
        cached = RepresentationCache(cache, representation, source, view)
        count = len(source) if limit is None else min(limit, len(source))
        rows, indices = [], []
        with tqdm(total=count, desc=name, unit="img", unit_scale=True, disable=None) as bar:
            for batch in Loader(source, view, CHUNK, seed=0).once(limit):
                standard = representation.standardise(cached(batch).to(representation.shift.device))
                rows.append(standard.half())
                indices.append(batch.indices)
                bar.update(len(batch))
        if not rows:
            raise UnlogitError(f"{source.spec}: none of its images can be decoded")
        self.register_buffer("rows", torch.cat(rows), persistent=False)
        self.register_buffer("squares", self.rows.float().square().sum(1), persistent=False)
        self.register_buffer("indices", torch.cat(indices), persistent=False)

    @torch.no_grad()
    def nearest(self, raw: Tensor) -> Tensor:
        """Places in the source, int64, shape (N,), of the nearest images to raw representations N x K."""
        self.check(raw)
        asked = self.representation.standardise(raw.to(self.rows.device))
        best = torch.full((len(asked),), torch.inf, device=asked.device)
        position = torch.zeros(len(asked), dtype=torch.int64, device=asked.device)
        for start in range(0, len(self.rows), ROWS):
            chunk = slice(start, start + ROWS)
            # The squared distance, less what is the same for all rows.
            distance, index = (self.squares[chunk] - 2 * asked @ self.rows[chunk].float().T).min(1)
            position = torch.where(distance < best, index + start, position)
            best = torch.minimum(best, distance)
        return self.indices[position].cpu()

    def _invert(self, raw: Tensor, noise: Tensor | None) -> Tensor:
        images = []
        for image in self.source.read(self.nearest(raw).tolist()):
            if isinstance(image, BrokenImage):
                raise image  # It could be decoded when this was built: the file changed since.
            images.append(image)
        return View(self.size).apply(images).to(raw.device)


def open_source(rest: str, spec: str) -> NearestNeighbour:
    """Open `nearest:CLASSIFIER?images=IMAGES&option=value`, standardised on some of its images."""
    options = specs.read(Options, rest, spec, name_is="classifier")[1]
    source, view = open_images(options.images), View(options.size)
    few = Loader(source, view, CHUNK, seed=0).once(CALIBRATION_IMAGES)
    classifier = open_classifier(options.classifier).fused([Layer.parse(options.layer).module])
    representation = Representation(classifier, options.layer).fit(b.images for b in few)
    return NearestNeighbour(representation, source, view, options.limit, options.cache)
