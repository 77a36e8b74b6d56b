"""Linear probes: ridge regression from a representation, without any inverter.

What a linear map reads is in the representation itself; what an inverter shows may come from its generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

PENALTIES = tuple(10.0 ** (k / 2) for k in range(-8, 9))
"""Candidate ridge penalties, per image, on inputs of unit variance."""


@dataclass(frozen=True)
class Probed:
    """Predictions of a probe, on images that it was not fitted on.

    Attributes:
        read: predictions, N x D.
        baseline: mean of the targets that the probe was fitted on, N x D: the prediction without a representation.
    """

    read: Tensor
    baseline: Tensor


def fit_ridge(inputs: Tensor, targets: Tensor) -> Callable[[Tensor], Probed]:
    """Fit ridge regression from M x K to M x D; return a function of new inputs, N x K.

    Inputs are standardised, and one penalty is used for all targets, which are scaled to unit variance: the one of
    least generalised cross-validation error (Golub, Heath and Wahba 1979, eq. 1.4). New inputs are bounded by the range
    of each dimension in the fit, since a probability that was nearly constant there can be thousands of standard
    deviations away for a new image.
    """
    x, y = inputs.double(), targets.double()
    low, high = x.aminmax(dim=0)
    shift, mean = x.mean(0), y.mean(0)
    # A constant dimension, such as of a class that is never predicted, has no information.
    scale = x.std(0)
    scale = torch.where(scale > 1e-9, scale, torch.inf)
    u, s, vh = torch.linalg.svd((x - shift) / scale, full_matrices=False)
    spread = (y - mean).std(0).clamp(min=1e-12)
    along = u.T @ ((y - mean) / spread)
    count = len(x)
    left = ((y - mean) / spread).square().sum() - along.square().sum()

    def error(penalty: float) -> float:
        shrinkage = s.square() / (s.square() + penalty * count)
        residual = left + ((1 - shrinkage).unsqueeze(1) * along).square().sum()
        # The mean takes one degree of freedom.
        return float(residual / (count - 1 - shrinkage.sum()).clamp(min=1e-6) ** 2)

    penalty = min(PENALTIES, key=error)
    weights = vh.T @ ((s / (s.square() + penalty * count)).unsqueeze(1) * along) * spread

    def read(new: Tensor) -> Probed:
        bounded = new.double().clamp(low, high)
        return Probed(((bounded - shift) / scale) @ weights + mean, mean.expand(len(new), -1))

    return read


def cross_fit(inputs: Tensor, targets: Tensor, folds: int, seed: int) -> Probed:
    """Read each image by a probe that is fitted on the other folds: N x K to N x D."""
    assert len(inputs) == len(targets) >= 2 * folds >= 4, (len(inputs), len(targets), folds)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    read = torch.empty(targets.shape, dtype=torch.double)
    baseline = torch.empty_like(read)
    for part in order.tensor_split(folds):
        others = torch.ones(len(inputs), dtype=torch.bool)
        others[part] = False
        probed = fit_ridge(inputs[others], targets[others])(inputs[part])
        read[part], baseline[part] = probed.read, probed.baseline
    return Probed(read, baseline)
