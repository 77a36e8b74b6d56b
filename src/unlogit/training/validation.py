"""Validation while a run goes on: figures on fixed held-out pictures, a sample grid, and the inverter saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from unlogit.files import replacing
from unlogit.images import ImageSource, Loader, View
from unlogit.inverters import GeneratorInverter
from unlogit.metrics.diversity import diversity
from unlogit.metrics.pixel import layout, layout_cosine, pixel_error
from unlogit.metrics.reencoding import agreement, logit_cosine, logit_error
from unlogit.networks import Generator, folded, standing_statistics
from unlogit.representation import Representation
from unlogit.training.config import TrainConfig
from unlogit.training.records import RunFolder

CHUNK = 64
SHOWN = 64
NOISES, NOISE_PICTURES = 4, 32
STANDING_PICTURES = 1_024


class Validator:
    """Evaluates an averaged generator.

    Args:
        conditions: gives (representation, noise) batches of training pictures, for the standing statistics.
    """

    def __init__(
        self,
        config: TrainConfig,
        representation: Representation,
        held_out: ImageSource,
        conditions: Callable[[int], Iterable[tuple[Tensor, Tensor]]],
    ) -> None:
        self.config = config
        self.representation = representation
        self.conditions = conditions
        self.loader = Loader(held_out, View(config.generator.size), CHUNK, seed=0)
        self.pictures = min(config.validation_pictures, len(held_out))
        self._originals: tuple[Tensor, Tensor, Tensor] | None = None

    def originals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Held-out pictures, their raw representation and their logits; read once."""
        if self._originals is None:
            images = torch.cat([self.loader.batch(i).images for i in range(0, self.pictures, CHUNK)])[: self.pictures]
            raw, logits = zip(*(self._encode(part) for part in images.split(CHUNK)), strict=True)
            self._originals = images, torch.cat(raw), torch.cat(logits)
        return self._originals

    @torch.no_grad()
    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        images = images.to(self.device)
        return self.representation.raw(images).cpu(), self.representation.classifier(images).cpu()

    @property
    def device(self) -> torch.device:
        return self.representation.shift.device

    def noise(self, n: int, draw: int) -> Tensor:
        """The same noise at every validation, so that grids can be compared."""
        return torch.randn(n, self.config.generator.noise, generator=torch.Generator().manual_seed(draw))

    def __call__(self, average: Generator, images_seen: int, folder: RunFolder) -> dict[str, float]:
        """Figures (means over the held-out pictures); writes samples/NNNNNNNNN.png and inverter/."""
        generator = folded(average)
        standing_statistics(generator, self.conditions(max(1, STANDING_PICTURES // self.config.batch)))
        inverter = GeneratorInverter(self.representation, generator, {"aids": self.config.aids}, self.config.out.name)
        originals, raw, logits = self.originals()
        noise = self.noise(len(raw), 0)
        parts = zip(raw.split(CHUNK), noise.split(CHUNK), strict=True)
        images = torch.cat([inverter.invert(r.to(self.device), n).cpu() for r, n in parts])
        reencoded = torch.cat([self._encode(part)[1] for part in images.split(CHUNK)])
        few = raw[:NOISE_PICTURES].to(self.device)
        draws = torch.stack([inverter.invert(few, self.noise(len(few), 1 + d)).cpu() for d in range(NOISES)])
        spread = logits.std(0)
        figures = {
            "agreement": agreement(logits, reencoded),
            "agreement5": agreement(logits, reencoded, k=min(5, logits.shape[1])),
            "logit_error": logit_error(logits / spread, reencoded / spread),
            "logit_cosine": logit_cosine(logits - logits.mean(0), reencoded - logits.mean(0)),
            "pixel_error": pixel_error(originals, images),
            "layout_cosine": layout_cosine(originals, images, layout(originals).mean(0)),
            "diversity": diversity(draws),
        }
        means = {name: float(values.float().mean()) for name, values in figures.items()}
        inverter.facts |= self.facts(images_seen, folder, means)
        inverter.save(folder.folder / "inverter")
        write_grid(originals[:SHOWN], images[:SHOWN], folder.samples / f"{images_seen:09d}.png")
        return means

    def facts(self, images_seen: int, folder: RunFolder, means: dict[str, float]) -> dict[str, object]:
        """What the model card tells of this run."""
        config = self.config
        return {
            "training_pictures": config.images,
            "pictures_seen": images_seen,
            "hours": round(folder.seconds() / 3600, 2),
            "batch": config.batch,
            "warm_start_pictures": config.warm_start,
            "layout_weight": config.layout_weight,
            "discriminator": config.discriminator.kind,
            "seed": config.seed,
            "validation_pictures": f"{self.pictures} of {config.held_out}",
            "validation": means,
        }


def write_grid(originals: Tensor, reconstructions: Tensor, path: object, columns: int = 8) -> None:
    """Pairs (original | reconstruction), `columns` pairs a row, as one PNG."""
    pairs = torch.stack([originals, reconstructions], 1).flatten(0, 1)
    grid = make_grid(pairs, nrow=2 * columns, padding=1)
    with replacing(path) as fresh:  # type: ignore[arg-type]
        Image.fromarray((grid * 255).round().byte().permute(1, 2, 0).numpy()).save(fresh, "PNG")
