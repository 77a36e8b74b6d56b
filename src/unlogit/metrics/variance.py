"""Variance components of generated images: the representation, the noise, and their interaction."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unlogit.errors import UnlogitError


@dataclass(frozen=True)
class TwoWay:
    """The two-way layout y[d, i], every noise d with every representation i, as inner products.

    y[d, i] = mean + a[i] + b[d] + e[d, i]: the effect of the representation, the effect of the noise that is the same
    for all representations, and their interaction. Variances are summed over the
    embedding's dimensions and estimated by the method of moments for random effects (Searle, Casella and McCulloch
    1992, section 4.3), so that they do not depend on how many of each were drawn.

    Attributes:
        means: inner products of the images' means over noise, N x N.
        draws: inner products of images of the same noise, summed over noises, N x N.
        squares: squared norms, summed over noises, N.
        noises: number of noises D.
    """

    means: Tensor
    draws: Tensor
    squares: Tensor
    noises: int

    @staticmethod
    def of(embedded: Tensor) -> TwoWay:
        """Return the variance components of D x N x F values, every image from the same D >= 2 noises."""
        count, n = embedded.shape[:2]
        if count < 2 or n < 2:
            raise UnlogitError(f"variance of {count} noises and {n} images: must be at least 2 of both")
        # Centred on the common mean for numerical precision.
        centred = embedded.double() - embedded.double().mean((0, 1))
        mean = centred.mean(0)
        return TwoWay(mean @ mean.T, torch.einsum("dif,djf->ij", centred, centred), centred.square().sum((0, 2)), count)

    def components(self, weights: Tensor) -> Tensor:
        """Return the variance of a, b and e, R x 3, for R weightings of the images, R x N with rows of sum 1."""
        count, n = self.noises, weights.shape[1]
        common = ((weights @ self.means) * weights).sum(1)
        images = weights @ self.means.diagonal() - common
        noises = ((weights @ self.draws) * weights).sum(1) / count - common
        rest = weights @ self.squares / count - common - images - noises
        e = rest * (n * count / ((n - 1) * (count - 1)))
        a = images * (n / (n - 1)) - e / count
        b = noises * (count / (count - 1)) - e / n
        return torch.stack([a, b, e], 1).clamp(min=0)

    def noise_share(self, weights: Tensor) -> Tensor:
        """Return the share of the variance that is due to noise, R in [0, 1]: (b + e) / (a + b + e)."""
        a, b, e = self.components(weights).unbind(1)
        return (b + e) / (a + b + e).clamp(min=1e-30)

    def common_share(self, weights: Tensor) -> Tensor:
        """Return the share of the variance that a noise adds to all images alike, R in [0, 1]: b / (a + b + e)."""
        a, b, e = self.components(weights).unbind(1)
        return b / (a + b + e).clamp(min=1e-30)
