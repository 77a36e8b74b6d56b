"""Base of the methods that optimise images: gradient descent in image space, without trained weights."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from tqdm import tqdm

from unlogit.classifiers import open_classifier
from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import View, open_images
from unlogit.methods._inverter import Inverter
from unlogit.representation import Representation
from unlogit.settings import Bounds, Checked, Count

CHUNK = 64
"""Images optimised at a time."""
NOISE = "noise"
NOISE_DEVIATION = 0.05
"""Standard deviation of the starting noise. It is small because a descent keeps what the classifier does not see."""


@dataclass(frozen=True)
class DescentOptions(Checked):
    """Options of every optimisation method."""

    classifier: str
    """Classifier whose representation is inverted, as source:name."""
    layer: str = "logits"
    size: Annotated[int, Bounds(8, 4_096)] = 64
    """Side of the images in pixels."""
    steps: Count = 500
    """Gradient steps per image."""
    start: str = NOISE
    """Starting image: "noise", or images as source:name, one of which is drawn at random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer == "label":
            raise UnlogitError("layer 'label' has no gradient to follow: use logits, softmax, penultimate or a module")


class DescentInverter(Inverter):
    """Minimise the distance between representations in image space; images do not influence one another.

    `noise`, as `sample_noise` returns it, is the starting images, n x 3 x S x S in [0, 1].
    """

    def __init__(self, options: DescentOptions, name: str, representation: Representation | None = None) -> None:
        super().__init__()
        self.name = name
        self.options = options
        self.size = options.size
        self.deviations = (f"{options.steps} gradient steps per image",)
        if representation is None:
            representation = Representation(open_classifier(options.classifier), options.layer)
        self.representation = representation
        self._source = None if options.start == NOISE else open_images(options.start)

    def sample_noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return starting images, n x 3 x S x S in [0, 1]: grey with Gaussian noise, or images of `start`."""
        if self._source is None:
            noise = torch.randn(n, 3, self.size, self.size, generator=generator)
            return (0.5 + NOISE_DEVIATION * noise).clamp(0, 1)
        which = torch.randint(len(self._source), (n,), generator=generator).tolist()
        images = []
        for image in self._source.read(which):
            if isinstance(image, BrokenImage):
                raise image
            images.append(image)
        return View(self.size).apply(images)

    def _invert(self, raw: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None  # `invert` draws it by `sample_noise`.
        chunks = zip(raw.split(CHUNK), noise.split(CHUNK), strict=True)
        reconstructions = [self._chunk(target, start) for target, start in chunks]
        return torch.cat(reconstructions) if reconstructions else noise

    # `invert` may run without gradients, and the result must not hold the graph.
    @torch.enable_grad()
    def _chunk(self, target: Tensor, start: Tensor) -> Tensor:
        pixels = start.to(target.device).clone()
        state: dict[str, Tensor] = {}
        steps = tqdm(range(self.options.steps), desc=self.name, unit="step", leave=False, disable=None)
        for step in steps:
            pixels.requires_grad_()
            loss = self.loss(pixels, target, step)
            # A sum over images, so that each one's gradient is its own.
            (gradient,) = torch.autograd.grad(loss.sum(), pixels)
            with torch.no_grad():
                pixels = self.update(pixels, gradient, start.to(pixels), step, state).clamp(0, 1)
            if step % 50 == 0:
                steps.set_postfix(loss=f"{float(loss.detach().mean()):.4f}")
        return pixels.detach()

    @abstractmethod
    def loss(self, pixels: Tensor, target: Tensor, step: int) -> Tensor:
        """Return the loss per image, N, of pixels N x 3 x S x S in [0, 1] and raw target representations N x K."""

    @abstractmethod
    def update(self, pixels: Tensor, gradient: Tensor, start: Tensor, step: int, state: dict[str, Tensor]) -> Tensor:
        """Return the next images, before they are clipped to [0, 1]; `state` persists from step to step."""

    def relative_distance(self, pixels: Tensor, target: Tensor) -> Tensor:
        """Return ||Phi(x) - Phi0||^2 / ||Phi0||^2, N."""
        distance = (self.representation.encode(pixels) - target).square().sum(1)
        return distance / target.square().sum(1).clamp(min=1e-12)

    def decay(self, step: int) -> float:
        """Return the factor of the step size, from 1 to nearly 0 along half a cosine: a fixed step never converges."""
        return (1 + math.cos(math.pi * step / self.options.steps)) / 2
