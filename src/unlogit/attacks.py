"""Untargeted adversarial examples under a maximum norm, in the house's pixel space."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.errors import UnlogitError
from unlogit.images import check_pixels

Model = Callable[[Tensor], Tensor]
"""From pixels, N x 3 x H x W in [0, 1], to logits, N x K: a `Classifier` or anything like it."""


def fgsm(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    random_start: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The fast gradient sign method (Goodfellow et al. 2015): one step of `epsilon` up the loss.

    From a random start it is that of Wong et al. 2020, with their step of 1.25 `epsilon`. Arguments as in `pgd`.
    """
    step = 1.25 * epsilon if random_start else epsilon
    return pgd(model, pixels, labels, epsilon, 1, step, random_start=random_start, generator=generator)


def pgd(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    epsilon: float,
    steps: int,
    step_size: float | None = None,
    *,
    random_start: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Projected gradient ascent of the cross-entropy (Madry et al. 2018), by the sign of the gradient.

    Args:
        model: from pixels to logits; call it in the mode (training or evaluation) that is to be attacked. Its
            parameters get no gradients.
        pixels: N x 3 x H x W in [0, 1].
        labels: int64, N: the classes to be led away from.
        epsilon: how far each value may move, in the [0, 1] scale, e.g. 8/255.
        steps: gradient steps.
        step_size: in the [0, 1] scale; None is 2.5 `epsilon` / `steps`.
        random_start: begin uniformly within `epsilon` of the image instead of at it.
        generator: of the random start, on the pixels' device; None is the global one.

    Returns:
        Images of the same shape, in [0, 1] and within `epsilon` of `pixels`, detached.
    """
    pixels = check_pixels(pixels, "attacked images").detach()
    size = 2.5 * epsilon / max(steps, 1) if step_size is None else step_size
    start = pixels
    if random_start:
        noise = torch.rand(pixels.shape, generator=generator, dtype=pixels.dtype, device=pixels.device)
        start = pixels + (2 * noise - 1) * epsilon

    def loss(attacked: Tensor) -> Tensor:
        # Summed, not averaged: an image's gradient must not depend on how many others there are.
        return F.cross_entropy(model(attacked).float(), labels, reduction="sum")

    return ascend(loss, pixels, start, epsilon, steps, size)


@torch.enable_grad()
def ascend(
    objective: Callable[[Tensor], Tensor], pixels: Tensor, start: Tensor, epsilon: float, steps: int, step_size: float
) -> Tensor:
    """Projected ascent of any objective of the images, by the sign of its gradient; what `pgd` is made of.

    Args:
        objective: from images to a number, a sum over them.
        pixels: N x 3 x H x W in [0, 1].
        start: where the ascent begins, projected first.
        epsilon: radius in l-inf around `pixels`.
        steps: how many.
        step_size: of each, in the same scale.

    Returns:
        Images as of `pgd`.
    """
    if not (epsilon >= 0 and steps >= 0):
        raise UnlogitError(f"attack with epsilon {epsilon} and {steps} steps: neither may be negative")
    pixels = pixels.detach()
    low, high = (pixels - epsilon).clamp(min=0), (pixels + epsilon).clamp(max=1)
    attacked = start.detach().clamp(low, high)
    for _ in range(steps):
        attacked.requires_grad_()
        (gradient,) = torch.autograd.grad(objective(attacked), attacked)
        attacked = (attacked.detach() + step_size * gradient.sign()).clamp(low, high)
    return attacked
