"""Validation during a run: metrics on fixed held-out images, a sample grid, and the saved inverter."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from unlogit.classifiers import Classifier
from unlogit.errors import UnlogitError
from unlogit.files import replacing, written_here
from unlogit.images import ImageSource, Loader, View, to_bytes
from unlogit.methods import SCORES, LearnedInverter, TrainConfig, open_inverter
from unlogit.metrics.pixel import diversity, layout, layout_cosine, pixel_error
from unlogit.metrics.recognition import encode, networks, part_in_training, recognition
from unlogit.metrics.reencoding import agreement, logit_cosine, logit_error
from unlogit.metrics.spectrum import octave_excess, peak_excess, power_spectrum
from unlogit.representation import Representation
from unlogit.runtime import distributed
from unlogit.training.run_folder import RunFolder

CHUNK = 64
SHOWN = 64
NOISES, NOISE_IMAGES = 4, 32
RECOGNISED = 256
"""Number of images for each network of --recognition; two networks at 128 px take about six seconds of one core."""
AUTO = tuple(f"packaged:efficientnet_lite{n}?size=128" for n in (1, 2))
CONSTANT = 1e-5
"""Deviation of a logit over the held-out images, as a share of the largest, below which it counts as constant. The
logit error is in units of this deviation and omits constant logits."""


class Validator:
    """Evaluate the current inverter of a run; each process takes its share of the held-out images."""

    def __init__(
        self,
        config: TrainConfig,
        representation: Representation,
        held_out: ImageSource,
        classifiers: Iterable[Classifier] = (),
    ) -> None:
        """`classifiers` are those that take part in training; raises `UnlogitError` where --recognition names one."""
        self.config = config
        self.representation = representation
        self.loader = Loader(held_out, View(config.size), CHUNK, seed=0)
        self.num_images = min(config.num_validation_images, len(held_out))
        self._originals: tuple[Tensor, Tensor, Tensor] | None = None
        self.took_part: dict[str, str | None] = {c.spec: c.weights_fingerprint() for c in classifiers}
        self.took_part = _begun(config.start).get("took_part", {}) | self.took_part
        self.recognisers = _recognisers(config, held_out, self.took_part, self.device)
        if config.best == "recognition" and not self.recognisers:
            raise UnlogitError("best 'recognition' is not measured: give --recognition a classifier, or another --best")
        self._original_logits: dict[str, Tensor] = {}

    def originals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return held-out images, their raw representations and their logits; read once."""
        if self._originals is None:
            images = torch.cat([self.loader.batch(i).images for i in range(0, self.num_images, CHUNK)])[
                : self.num_images
            ]
            raw, logits = zip(*(self._encode(part) for part in images[self.mine].split(CHUNK)), strict=True)
            self._originals = images, distributed.every(torch.cat(raw)), distributed.every(torch.cat(logits))
        return self._originals

    @property
    def mine(self) -> slice:
        """Slice of this process's images."""
        return slice(distributed.rank(), None, distributed.world_size())

    @torch.no_grad()
    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        images = images.to(self.device)
        return self.representation.raw(images).cpu(), self.representation.classifier(images).cpu()

    @property
    def device(self) -> torch.device:
        return self.representation.shift.device

    def __call__(self, inverter: LearnedInverter, images_seen: int, folder: RunFolder) -> dict[str, float]:
        """Return metrics (means over the held-out images); write a sample grid, inverter/, and best/ if it is the best.

        The first process writes and returns the metrics; the others return none.
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
        varies = spread > CONSTANT * spread.max()
        figures = {
            "agreement": agreement(logits, reencoded),
            "agreement5": agreement(logits, reencoded, k=min(5, logits.shape[1])),
            "logit_error": logit_error(*(x[:, varies] / spread[varies] for x in (logits, reencoded))),
            "logit_cosine": logit_cosine(logits - logits.mean(0), reencoded - logits.mean(0)),
            "pixel_error": pixel_error(originals, images),
            "layout_cosine": layout_cosine(originals, images, layout(originals).mean(0)),
        }
        if len(images) > 1:
            variety = images.std(0).mean() / originals.std(0).mean()
            figures["variety"] = variety
        if noise is not None:
            few = raw[:NOISE_IMAGES].to(self.device)
            draws = [inverter.invert(few, drawn(inverter, len(few), 1 + d)).cpu() for d in range(NOISES)]
            figures["diversity"] = diversity(torch.stack(draws))
        means = {name: float(values.float().mean()) for name, values in figures.items()}
        means |= self._recognition(originals, images) | _excess(originals, images)
        best, score = self.config.best, SCORES[self.config.best]
        if best not in means:
            raise UnlogitError(f"best '{best}' is not measured in this run: give --best one of {', '.join(means)}")
        means = {name: mean for name, mean in means.items() if math.isfinite(mean)}
        inverter.facts |= self.facts(images_seen, folder, means)
        inverter.save(folder.inverter)
        earlier = [figures[best] for figures in folder.validations() if best in figures]
        if best in means and all(score(means[best]) > score(value) for value in earlier):
            inverter.save(folder.best)
        write_grid(originals[:SHOWN], images[:SHOWN], folder.sample(images_seen))
        return means

    def _recognition(self, originals: Tensor, images: Tensor) -> dict[str, float]:
        """Return the cosine of standardised logits by each network of --recognition, and the mean over them."""
        cosines = {}
        for spec, classifier in self.recognisers.items():
            if spec not in self._original_logits:
                self._original_logits[spec] = encode(classifier, originals[:RECOGNISED].split(CHUNK))
            reencoded = encode(classifier, images[:RECOGNISED].split(CHUNK))
            cosines[f"recognition/{spec}"] = float(recognition(self._original_logits[spec], reencoded)["cosine"].mean())
        return {"recognition": sum(cosines.values()) / len(cosines)} | cosines if cosines else {}

    def facts(self, images_seen: int, folder: RunFolder, means: dict[str, float]) -> dict[str, object]:
        """Return the facts of this run for the model card."""
        config = self.config
        return _begun(config.start) | {
            "took_part": self.took_part,
            "training_images": config.images,
            "images_seen": images_seen,
            "hours": round(folder.seconds() / 3600, 2),
            "batch": config.batch,
            "seed": config.seed,
            "num_validation_images": f"{self.num_images} of {config.held_out}",
            "validation": means,
        }


def _excess(originals: Tensor, images: Tensor) -> dict[str, float]:
    """Return the excess power over the originals in dB: of the highest octave, and its maximum over frequencies."""
    if len(images) < 2:
        return {}
    spectra = power_spectrum(originals), power_spectrum(images)
    highest = next(iter(octave_excess(*spectra).values()))
    return {"octave_excess": highest.value, "peak_excess": peak_excess(*spectra).excess.value}


def _recognisers(
    config: TrainConfig, held_out: ImageSource, took_part: dict[str, str | None], device: torch.device
) -> dict[str, Classifier]:
    """Return the classifiers of --recognition by spec."""
    recognisers = {}
    for spec, classifier in networks(config.recognition, held_out, AUTO).items():
        part = part_in_training(classifier, took_part)
        if part is None:
            recognisers[spec] = classifier.to(device)
        elif spec in config.recognition:
            raise UnlogitError(
                f"recognition '{spec}' takes part in this training as '{part}': give a classifier that does not"
            )
    return recognisers


@cache
def _begun(start: str | None) -> dict[str, Any]:
    """Return the facts of the inverter that a run started from; only its name if it no longer exists."""
    if start is None:
        return {}
    try:
        inverter = cast(LearnedInverter, open_inverter(start))
    except UnlogitError:
        return {"start": start}
    facts = inverter.facts
    own = facts.get("training_fingerprint") or facts.get("training_images")
    earlier = [own, *facts.get("earlier_training", [])] if own else []
    history: dict[str, object] = {"earlier_training": earlier} if earlier else {}
    return history | {
        "start": start,
        "images_before": facts.get("images_before", 0) + facts.get("images_seen", 0),
        "took_part": inverter.took_part(),
    }


def drawn(inverter: LearnedInverter, n: int, draw: int) -> Tensor | None:
    """Return the same noise at every validation, to make grids comparable; None where the method has none."""
    return inverter.sample_noise(n, torch.Generator().manual_seed(draw))


def write_grid(originals: Tensor, reconstructions: Tensor, path: Path, columns: int = 8) -> None:
    """Write pairs (original | reconstruction), `columns` pairs per row, as one PNG."""
    pairs = torch.stack([originals, reconstructions], 1).flatten(0, 1)
    grid = make_grid(pairs, nrow=2 * columns, padding=1)
    with replacing(path, written_here) as fresh:
        to_pil_image(to_bytes(grid)).save(fresh, "PNG")
