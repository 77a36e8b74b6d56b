"""Nearest-neighbour baseline: the training image whose representation is nearest."""

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
"""Number of images encoded at once."""
CALIBRATION_IMAGES = 2_048
ROWS = 8_192
"""Number of representations compared at once: 33 MB for a thousand logits."""


@dataclass(frozen=True)
class Options(Checked):
    """Options of the nearest neighbour."""

    classifier: str
    """Classifier whose representations are compared, as source:name."""
    images: str
    """Images among which the nearest is chosen, as source:name."""
    layer: str = "logits"
    size: Annotated[int, Bounds(8, 4_096)] = 64
    """Side of the images in pixels."""
    limit: Count | None = None
    """Number of images, spread at random over the source; None takes all."""
    cache: Path = Path("runs/cache")
    """Folder where the classifier's outputs are cached."""


class NearestNeighbour(Inverter):
    """Return the image of `source` whose standardised representation is nearest by Euclidean distance.

    It stores float16 representations and indices, and decodes images on demand. It has no noise and returns real
    images: a baseline for how much of a reconstruction a look-up achieves.

    Args:
        representation: representation with the standardisation of the inverter that it is compared with.
        source: training images.
        view: view of training, so that cached representations are reused; returned images are centred, not flipped.
        limit: number of images, spread at random over the source; None takes all.
        cache: folder of `RepresentationCache`; None computes all representations again.
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
            raise UnlogitError(f"{source.spec}: none of its images can be decoded; give other training images")
        self.register_buffer("rows", torch.cat(rows), persistent=False)
        self.register_buffer("squares", self.rows.float().square().sum(1), persistent=False)
        self.register_buffer("indices", torch.cat(indices), persistent=False)

    @torch.no_grad()
    def nearest(self, raw: Tensor) -> Tensor:
        """Return indices in the source, int64, shape (N,), of the images nearest to raw representations N x K."""
        self.check(raw)
        queries = self.representation.standardise(raw.to(self.rows.device))
        best = torch.full((len(queries),), torch.inf, device=queries.device)
        position = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
        for start in range(0, len(self.rows), ROWS):
            chunk = slice(start, start + ROWS)
            # The squared distance without the term that is the same for all rows.
            distance, index = (self.squares[chunk] - 2 * queries @ self.rows[chunk].float().T).min(1)
            position = torch.where(distance < best, index + start, position)
            best = torch.minimum(best, distance)
        return self.indices[position].cpu()

    def _invert(self, raw: Tensor, noise: Tensor | None) -> Tensor:
        images = []
        for image in self.source.read(self.nearest(raw).tolist()):
            if isinstance(image, BrokenImage):
                raise image  # It was readable when the inverter was built: the file has changed since.
            images.append(image)
        return View(self.size).apply(images).to(raw.device)


def open_source(rest: str, spec: str) -> NearestNeighbour:
    """Open `nearest:CLASSIFIER?images=IMAGES&option=value`, standardised on a sample of its images."""
    options = specs.read(Options, rest, spec, name_is="classifier")[1]
    source, view = open_images(options.images), View(options.size)
    few = Loader(source, view, CHUNK, seed=0).once(CALIBRATION_IMAGES)
    classifier = open_classifier(options.classifier).fused([Layer.parse(options.layer).module])
    representation = Representation(classifier, options.layer).fit(b.images for b in few)
    return NearestNeighbour(representation, source, view, options.limit, options.cache)
