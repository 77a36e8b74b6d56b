"""Reconstructions and logits of a dataset, computed at first use and cached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from tqdm import tqdm

from unlogit.analyses._dataset import CHUNK, Dataset, Images
from unlogit.classifiers import Classifier
from unlogit.errors import UnlogitError
from unlogit.images import to_bytes
from unlogit.methods import Inverter
from unlogit.runtime.seeds import seeded


@dataclass(frozen=True)
class Encoded:
    """Outputs of a classifier: logits, N x K, and by layer the raw representations, N x D."""

    logits: Tensor
    raw: dict[str, Tensor]


@dataclass(frozen=True)
class Reconstructed:
    """Reconstructions by an inverter, with the logits of its own classifier.

    Attributes:
        images: one reconstruction per original, from one noise.
        logits: logits of the originals, N x K.
        reencoded: logits of the reconstructions, N x K.
    """

    images: Images
    logits: Tensor
    reencoded: Tensor


class Reconstructions:
    """A cache of the representations and reconstructions of a dataset.

    Noise is a function of the seed and the position in the dataset alone.

    Args:
        dataset: the images.
        inverters: by the name shown in figures, in the order shown.
        seed: random seed for the noise.
    """

    def __init__(self, dataset: Dataset, inverters: Mapping[str, Inverter], seed: int) -> None:
        self.dataset = dataset
        self.inverters = dict(inverters)
        self.seed = seed
        self._encoded: dict[str, Encoded] = {}
        self._reconstructed: dict[str, Reconstructed] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def originals(self) -> Images:
        """The images of the dataset."""
        return self.dataset.images

    @property
    def labels(self) -> Tensor:
        """int64, N; -1 for an image without a label."""
        return self.dataset.labels

    @property
    def indices(self) -> Tensor:
        """Positions in the source, int64, N."""
        return self.dataset.indices

    def sample(self, count: int, seed: int) -> Tensor:
        """Return the positions of `count` images, drawn at random, in the order drawn."""
        return self.dataset.sample(count, seed)

    @torch.no_grad()
    def encoded(self, name: str) -> Encoded:
        """Return the outputs of the classifier of inverter `name` for the originals, shared by all its inverters."""
        key = self._keys[name]
        if key not in self._encoded:
            sharing = [i.representation for n, i in self.inverters.items() if self._keys[n] == key]
            classifier = sharing[0].classifier
            logits, raw = [], {r.layer: [] for r in sharing}  # type: ignore[var-annotated]
            for images in self._progress(self.originals.chunks(), f"{classifier.spec} encodes originals"):
                # One pass for all layers.
                outputs = classifier.features(images.to(device_of(classifier)), list({r.module for r in sharing}))
                logits.append(outputs["logits"].float().cpu())
                for r in {r.layer: r for r in sharing}.values():
                    raw[r.layer].append(r.reduce(outputs[r.module]).cpu())
            self._encoded[key] = Encoded(torch.cat(logits), {layer: torch.cat(parts) for layer, parts in raw.items()})
        return self._encoded[key]

    def raw(self, name: str) -> Tensor:
        """Return the originals' representations that inverter `name` reads, N x K."""
        return self.encoded(name).raw[self.inverters[name].representation.layer]

    @torch.no_grad()
    def reconstructed(self, name: str) -> Reconstructed:
        """Return the reconstructions of every image by inverter `name`, re-encoded with its own classifier."""
        if name not in self._reconstructed:
            inverter = self.inverters[name]
            encoded = self.encoded(name)
            classifier = inverter.representation.classifier
            chunks, reencoded = [], []
            parts = encoded.raw[inverter.representation.layer].split(CHUNK)
            for position, raw in enumerate(self._progress(parts, f"{name} reconstructs")):
                noise = self.noise(inverter, len(raw), position)
                reconstructions = inverter.invert(raw.to(device_of(classifier)), noise)
                images = _checked(name, reconstructions)
                chunks.append(images)
                # Re-encode the image as it is shown or saved, with 256 levels.
                reencoded.append(classifier(images.to(device_of(classifier)).float() / 255).float().cpu())
            self._reconstructed[name] = Reconstructed(Images.of(chunks), encoded.logits, torch.cat(reencoded))
        return self._reconstructed[name]

    def noise(self, inverter: Inverter, n: int, position: int, draw: int = 0) -> Tensor | None:
        """Return the noise of chunk `position`, the same for all inverters of one noise length; other draws differ."""
        return inverter.sample_noise(n, seeded(self.seed, draw, position))

    def noise_at(self, name: str, which: Tensor) -> Tensor | None:
        """Return the noise from which `reconstructed` made the images at these positions, n x Z; None without noise."""
        inverter = self.inverters[name]
        if inverter.sample_noise(1) is None:
            return None
        sizes = [min(CHUNK, len(self) - start) for start in range(0, len(self), CHUNK)]
        every = [self.noise(inverter, size, position) for position, size in enumerate(sizes)]
        return torch.cat([noise for noise in every if noise is not None])[which]

    @torch.no_grad()
    def draws(self, name: str, which: Tensor, count: int) -> Tensor | None:
        """Return `count` reconstructions of the images at these positions from other noises, count x n x 3 x S x S.

        None if the method has no noise.
        """
        inverter = self.inverters[name]
        if inverter.sample_noise(1) is None:
            return None
        parts = self.encoded(name).raw[inverter.representation.layer][which].split(CHUNK)
        device = device_of(inverter.representation.classifier)
        reconstructions = [
            inverter.invert(raw.to(device), self.noise(inverter, len(raw), position, 1 + draw)).cpu()
            for draw in range(count)
            for position, raw in enumerate(parts)
        ]
        return torch.cat(reconstructions).unflatten(0, (count, -1))

    @torch.no_grad()
    def invert(self, name: str, raw: Tensor, noise: Tensor | None) -> Images:
        """Return the reconstructions by inverter `name` of any raw representations N x K, such as manipulated ones."""
        inverter = self.inverters[name]
        device = device_of(inverter.representation.classifier)
        noises = [None] * -(-len(raw) // CHUNK) if noise is None else noise.split(CHUNK)
        reconstructions = [inverter.invert(r.to(device), z) for r, z in zip(raw.split(CHUNK), noises, strict=True)]
        return Images.of([_checked(name, m) for m in reconstructions])

    @torch.no_grad()
    def reencode(self, name: str, images: Images) -> Tensor:
        """Return the logits, N x K, of any images by the classifier of inverter `name`."""
        classifier = self.inverters[name].representation.classifier
        return torch.cat([classifier(c.to(device_of(classifier))).float().cpu() for c in images.chunks()])

    @torch.no_grad()
    def ask(self, name: str, originals: Images, noise: Tensor | None) -> Reconstructed:
        """Return the reconstructions by inverter `name` of any images, such as adversarial ones, from that noise."""
        representation = self.inverters[name].representation
        raw, logits = [], []
        for images in originals.chunks():
            images = images.to(device_of(representation.classifier))
            outputs = representation.classifier.features(images, [representation.module])
            raw.append(representation.reduce(outputs[representation.module]).cpu())
            logits.append(outputs["logits"].float().cpu())
        reconstructions = self.invert(name, torch.cat(raw), noise)
        return Reconstructed(reconstructions, torch.cat(logits), self.reencode(name, reconstructions))

    def classifiers(self) -> dict[str, list[str]]:
        """Return, by the first inverter of each classifier, all inverters of that classifier."""
        sharing: dict[str, list[str]] = {}
        for name in self.inverters:
            sharing.setdefault(self._keys[name], []).append(name)
        return {names[0]: names for names in sharing.values()}

    def measured(self) -> list[str]:
        """Return the inverters of a continuous representation: all but those of the predicted class alone."""
        return [name for name, inverter in self.inverters.items() if inverter.representation.layer != "label"]

    def noisy(self) -> list[str]:
        """Return the inverters that have noise."""
        return [name for name, inverter in self.inverters.items() if inverter.sample_noise(1) is not None]

    def representations(self) -> list[str]:
        """Return the first inverter of each classifier and layer, for analyses that use no inverter."""
        first: dict[tuple[str, str], str] = {}
        for name in self.measured():
            first.setdefault((self._keys[name], self.inverters[name].representation.layer), name)
        return list(first.values())

    @cached_property
    def _keys(self) -> dict[str, str]:
        """Fingerprint of the classifier, by inverter."""
        return {n: i.representation.classifier.fingerprint() for n, i in self.inverters.items()}

    def _progress(self, parts: Iterable[Tensor], what: str) -> Iterator[Tensor]:
        total = -(-len(self) // CHUNK)
        yield from tqdm(parts, desc=what, total=total, unit="batch", leave=False, disable=None)


def device_of(classifier: Classifier) -> torch.device:
    """Return the device that a classifier is on."""
    return classifier.mean.device


def _checked(name: str, images: Tensor) -> Tensor:
    """Return reconstructions as uint8 on the CPU; raise `UnlogitError` for non-finite ones."""
    if not images.isfinite().all():
        raise UnlogitError(f"inverter '{name}' returns non-finite values (NaN or inf): its training diverged")
    return to_bytes(images).cpu()
