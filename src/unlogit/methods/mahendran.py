"""Optimisation with a natural-image prior (Mahendran and Vedaldi 2015): no training, minutes per image.

Mahendran and Vedaldi, "Understanding Deep Image Representations by Inverting Them", CVPR 2015, equation 4 with the
regularisers of section 2:

    ||Phi(sigma x) - Phi0||^2 / ||Phi0||^2 + lambda_alpha sum |x|^alpha + lambda_beta sum (dx^2 + dy^2)^(beta / 2)

Scale: their x has a norm near 1, sigma being the mean norm of natural images. Here u = (pixel - 0.5) / 0.27, whose
values are near 1, so that x = u / sqrt(n), and sums become means: lambda_alpha = 2.16e8 at alpha 6 and n = 3 x
227^2 is 2.16e8 / n^2 = 0.009 times the mean of |u|^6. Neighbours differ more in smaller images; the total variation
is therefore multiplied by (S / 227)^beta, and with beta = 2 the sum over x is the mean over u.

Departs in the optimiser: Adam with a decaying step, whose rate fits every layer, where theirs is gradient descent
with momentum and rates by layer; in clipping to [0, 1] after each step, and in the jitter, both from later versions
(Mahendran and Vedaldi, IJCV 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unlogit import specs
from unlogit.methods._descent import DescentInverter, DescentOptions
from unlogit.representation import Representation
from unlogit.settings import Rate, Weight, Whole

DEVIATION = 0.27
"""Standard deviation of natural images' values in [0, 1]."""
THEIR_SIZE = 227
BETAS = (0.9, 0.999)


@dataclass(frozen=True)
class Options(DescentOptions):
    """Options of Mahendran and Vedaldi."""

    alpha: Rate = 6.0
    """Exponent of the norm of pixel values."""
    alpha_weight: Weight = 0.009
    """Weight of the norm of pixel values."""
    beta: Rate = 2.0
    """Exponent of the total variation."""
    tv_weight: Weight = 50.0
    """Weight of the total variation, in the scale above; on scenes 5 leaves much noise and 50 little."""
    rate: Rate = 0.03
    """Learning rate of Adam at the first step, for pixels in [0, 1]."""
    jitter: Whole = 1
    """Largest random shift of the image before each step, in pixels."""


class MahendranInverter(DescentInverter):
    """Minimise the relative distance and the two priors."""

    options: Options

    def __init__(self, options: Options, representation: Representation | None = None) -> None:
        super().__init__(options, "Mahendran & Vedaldi", representation)

    def loss(self, pixels: Tensor, target: Tensor, step: int) -> Tensor:
        o = self.options
        total = self.relative_distance(self._shifted(pixels, step), target)
        u = (pixels - 0.5) / DEVIATION
        if o.alpha_weight:
            total = total + o.alpha_weight * alpha_norm(u, o.alpha)
        if o.tv_weight:
            total = total + o.tv_weight * (self.size / THEIR_SIZE) ** o.beta * total_variation(u, o.beta)
        return total

    def _shifted(self, pixels: Tensor, step: int) -> Tensor:
        """Return images rolled by the jitter of this step, which is the same for all images of all batches."""
        if not self.options.jitter:
            return pixels
        reach = self.options.jitter
        down, right = np.random.default_rng([step]).integers(-reach, reach + 1, 2).tolist()
        return pixels.roll((down, right), (2, 3))

    def update(self, pixels: Tensor, gradient: Tensor, start: Tensor, step: int, state: dict[str, Tensor]) -> Tensor:
        """Take a step of Adam (Kingma and Ba 2015) with moments per image, which torch's optimiser does not offer."""
        first, second = BETAS
        mean = state.get("mean", torch.zeros_like(pixels)).lerp(gradient, 1 - first)
        square = state.get("square", torch.zeros_like(pixels)).lerp(gradient.square(), 1 - second)
        state["mean"], state["square"] = mean, square
        direction = mean / (1 - first ** (step + 1)) / ((square / (1 - second ** (step + 1))).sqrt() + 1e-12)
        return pixels - self.options.rate * self.decay(step) * direction


def alpha_norm(u: Tensor, alpha: float) -> Tensor:
    """Return the mean of |u|^alpha over each image, N."""
    return u.abs().pow(alpha).mean((1, 2, 3))


def total_variation(u: Tensor, beta: float) -> Tensor:
    """Return the mean over each image of (dx^2 + dy^2)^(beta / 2), N; differences are 0 at the right and lower edge."""
    right = torch.nn.functional.pad(u[..., :, 1:] - u[..., :, :-1], (0, 1))
    below = torch.nn.functional.pad(u[..., 1:, :] - u[..., :-1, :], (0, 0, 0, 1))
    squares = right.square() + below.square()
    # A root has no gradient at 0.
    return (squares if beta == 2 else (squares + 1e-8).pow(beta / 2)).mean((1, 2, 3))


def open_source(rest: str, spec: str) -> MahendranInverter:
    """Open `mahendran:CLASSIFIER?option=value`."""
    return MahendranInverter(specs.read(Options, rest, spec, name_is="classifier")[1])
