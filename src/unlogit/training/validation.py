"""Validation while a run goes on: figures on fixed held-out pictures, a sample grid, and the inverter saved."""

from __future__ import annotations

import math
from functools import cache
from typing import cast

import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from unlogit import distributed
from unlogit.errors import UnlogitError
from unlogit.files import replacing
from unlogit.images import ImageSource, Loader, View
from unlogit.inverters import LearnedInverter, open_inverter
from unlogit.metrics.diversity import diversity
from unlogit.metrics.pixel import layout, layout_cosine, pixel_error
from unlogit.metrics.reencoding import agreement, logit_cosine, logit_error
from unlogit.representation import Representation
from unlogit.training.config import TrainConfig
from unlogit.training.records import RunFolder

CHUNK = 64
SHOWN = 64
NOISES, NOISE_PICTURES = 4, 32
BEST = "logit_error"
"""The figure whose lowest value marks the inverter that is kept as best/: one that varies less than agreement."""


class Validator:
    """Evaluates what a training has made so far; every process its share of the held-out pictures."""

    def __init__(self, config: TrainConfig, representation: Representation, held_out: ImageSource) -> None:
        self.config = config
        self.representation = representation
        self.loader = Loader(held_out, View(config.size), CHUNK, seed=0)
        self.pictures = min(config.validation_pictures, len(held_out))
        self._originals: tuple[Tensor, Tensor, Tensor] | None = None

    def originals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Held-out pictures, their raw representation and their logits; read once."""
        if self._originals is None:
            images = torch.cat([self.loader.batch(i).images for i in range(0, self.pictures, CHUNK)])[: self.pictures]
            raw, logits = zip(*(self._encode(part) for part in images[self.mine].split(CHUNK)), strict=True)
            self._originals = images, distributed.every(torch.cat(raw)), distributed.every(torch.cat(logits))
        return self._originals

    @property
    def mine(self) -> slice:
        """This process's share."""
        return slice(distributed.rank(), None, distributed.world_size())

    @torch.no_grad()
    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        images = images.to(self.device)
        return self.representation.raw(images).cpu(), self.representation.classifier(images).cpu()

    @property
    def device(self) -> torch.device:
        return self.representation.shift.device

    def __call__(self, inverter: LearnedInverter, images_seen: int, folder: RunFolder) -> dict[str, float]:
        """Figures (means over the held-out pictures); writes samples/NNNNNNNNN.png, inverter/, and best/ if it is.

        The first process has the figures and writes; the others return none.
        """
        originals, raw, logits = self.originals()
        noise = drawn(inverter, len(raw), 0)
        noises = [None] * len(raw) if noise is None else noise[self.mine].split(CHUNK)
        parts = zip(raw[self.mine].split(CHUNK), noises, strict=False)
        share = torch.cat([inverter.invert(r.to(self.device), n).cpu() for r, n in parts])
        reencoded = distributed.every(torch.cat([self._encode(part)[1] for part in share.split(CHUNK)]))
        images = distributed.every(share)
        if distributed.rank():
            return {}
        spread = logits.std(0)
        figures = {
            "agreement": agreement(logits, reencoded),
            "agreement5": agreement(logits, reencoded, k=min(5, logits.shape[1])),
            "logit_error": logit_error(logits / spread, reencoded / spread),
            "logit_cosine": logit_cosine(logits - logits.mean(0), reencoded - logits.mean(0)),
            "pixel_error": pixel_error(originals, images),
            "layout_cosine": layout_cosine(originals, images, layout(originals).mean(0)),
        }
        if len(images) > 1:
            variety = images.std(0).mean() / originals.std(0).mean()
            figures["variety"] = variety
        if noise is not None:
            few = raw[:NOISE_PICTURES].to(self.device)
            draws = [inverter.invert(few, drawn(inverter, len(few), 1 + d)).cpu() for d in range(NOISES)]
            figures["diversity"] = diversity(torch.stack(draws))
        means = {name: float(values.float().mean()) for name, values in figures.items()}
        inverter.facts |= self.facts(images_seen, folder, means)
        inverter.save(folder.folder / "inverter")
        if all(means[BEST] < earlier.get(BEST, math.inf) for earlier in folder.validations()):
            inverter.save(folder.folder / "best")
        write_grid(originals[:SHOWN], images[:SHOWN], folder.samples / f"{images_seen:09d}.png")
        return means

    def facts(self, images_seen: int, folder: RunFolder, means: dict[str, float]) -> dict[str, object]:
        """What the model card tells of this run."""
        config = self.config
        return _begun(config.start) | {
            "training_pictures": config.images,
            "pictures_seen": images_seen,
            "hours": round(folder.seconds() / 3600, 2),
            "batch": config.batch,
            "seed": config.seed,
            "validation_pictures": f"{self.pictures} of {config.held_out}",
            "validation": means,
        }


@cache
def _begun(start: str | None) -> dict[str, object]:
    """What the card tells of the inverter that a run started from, less its pictures where it is gone by now."""
    if start is None:
        return {}
    try:
        facts = cast(LearnedInverter, open_inverter(start)).facts
    except UnlogitError:
        return {"start": start}
    own = facts.get("training_fingerprint") or facts.get("training_pictures")
    earlier = [own, *facts.get("earlier_training", [])] if own else []
    known: dict[str, object] = {"earlier_training": earlier} if earlier else {}
    return known | {
        "start": start,
        "pictures_before": facts.get("pictures_before", 0) + facts.get("pictures_seen", 0),
    }


def drawn(inverter: LearnedInverter, n: int, draw: int) -> Tensor | None:
    """The same noise at every validation, so that grids can be compared; None where the method has none."""
    return inverter.sample_noise(n, torch.Generator().manual_seed(draw))


def write_grid(originals: Tensor, reconstructions: Tensor, path: object, columns: int = 8) -> None:
    """Pairs (original | reconstruction), `columns` pairs a row, as one PNG."""
    pairs = torch.stack([originals, reconstructions], 1).flatten(0, 1)
    grid = make_grid(pairs, nrow=2 * columns, padding=1)
    with replacing(path) as fresh:  # type: ignore[arg-type]
        Image.fromarray((grid * 255).round().byte().permute(1, 2, 0).numpy()).save(fresh, "PNG")
