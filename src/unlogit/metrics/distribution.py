"""Distances between two sets of images, in any network's feature space; features are float, N x F.

They measure whether reconstructions as a set look like images, not whether each resembles its original.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from unlogit.errors import UnlogitError
from unlogit.statistics import Estimate, enclosing, wilson


def fid(features_a: Tensor, features_b: Tensor) -> float:
    """Return the Fréchet distance between Gaussians fitted to two sets (Heusel et al. 2017, eq. 6), in float64.

    Biased upwards at small N, and below N = F + 1 the covariances are not even of full rank: compare only values of
    equal N and the same feature network.
    """
    (mean_a, root_a), (mean_b, root_b) = _gaussian(features_a), _gaussian(features_b)
    # With A = Ra' Ra and B = Rb' Rb, the trace of (A B)^1/2 is the nuclear norm of Ra Rb': no root of an
    # unsymmetric product, and no large matrix where images are few.
    cross = torch.linalg.svdvals(root_a @ root_b.T).sum()
    distance = (mean_a - mean_b).square().sum() + root_a.square().sum() + root_b.square().sum() - 2 * cross
    return max(0.0, float(distance))


def fid_interval(features_a: Tensor, features_b: Tensor, groups: int = 10, level: float = 0.95) -> Estimate:
    """Return `fid` with an interval from a delete-a-group jackknife over images; row i of both sets is the same image.

    A bootstrap is not used, since its repeated images add to the bias of the FID.
    """
    n = len(features_a)
    if not len(features_b) == n >= 2 * groups:
        raise UnlogitError(
            f"features of {n} and {len(features_b)} images: must be equally many, and at least {2 * groups}"
        )
    value = fid(features_a, features_b)
    member = torch.randperm(n, generator=torch.Generator().manual_seed(0)) % groups
    without = torch.tensor([fid(features_a[member != g], features_b[member != g]) for g in range(groups)])
    error = ((groups - 1) / groups * (without - without.mean()).square().sum()).sqrt()
    half = NormalDist().inv_cdf((1 + level) / 2) * float(error)
    return Estimate(value, max(0.0, value - half), value + half, n)


@dataclass(frozen=True)
class Kid:
    """Kernel distance; `values` holds one unbiased estimate per subset, so single ones may be negative."""

    values: Tensor

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    def estimate(self, n: int, level: float = 0.95) -> Estimate:
        """Return the mean and the interval that holds a share `level` of the subsets; `n` is the number of images."""
        tail = (1 - level) / 2
        low, high = self.values.quantile(torch.tensor([tail, 1 - tail], dtype=self.values.dtype)).tolist()
        return enclosing(self.mean, low, high, n)


def kid(
    features_a: Tensor,
    features_b: Tensor,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    generator: torch.Generator | None = None,
) -> Kid:
    """Return the unbiased squared MMD with kernel (x . y / F + 1)^3, over subsets (Binkowski et al. 2018, eq. 4)."""
    size = min(subset_size, len(features_a), len(features_b))
    if size < 2 or features_a.shape[1:] != features_b.shape[1:]:
        shapes = f"{tuple(features_a.shape)} and {tuple(features_b.shape)}"
        raise UnlogitError(f"features of shapes {shapes}: must be N x F of one network, with N at least 2")
    values = []
    for _ in range(subsets):
        x, y = (f[torch.randperm(len(f), generator=generator)[:size]].double() for f in (features_a, features_b))
        values.append(_mmd(x, y))
    return Kid(torch.stack(values))


@dataclass(frozen=True)
class PrecisionRecall:
    """Membership of images in the other set's manifold.

    Attributes:
        inside: bool, per generated image: whether it is in the manifold of the real ones.
        reached: bool, per real image: whether it is in the manifold of the generated ones.
    """

    inside: Tensor
    reached: Tensor

    @property
    def precision(self) -> Estimate:
        """Share of generated images in the manifold of real ones, with Wilson's interval."""
        return wilson(int(self.inside.sum()), len(self.inside))

    @property
    def recall(self) -> Estimate:
        """Share of real images in the manifold of generated ones, with Wilson's interval."""
        return wilson(int(self.reached.sum()), len(self.reached))


def precision_recall(real: Tensor, generated: Tensor, neighbours: int = 3) -> PrecisionRecall:
    """Return improved precision and recall (Kynkäänniemi et al. 2019, eqs. 1 and 2).

    A set's manifold is the union of balls around its members, each as wide as the distance to its k-th neighbour in
    the set. Both grow with the number of images: compare only values of equal N and the same feature network.
    """
    if min(len(real), len(generated)) <= neighbours:
        raise UnlogitError(f"{len(real)} and {len(generated)} images with {neighbours} neighbours: must be more images")
    across = torch.cdist(generated.double(), real.double())
    radius_real, radius_generated = (
        # The nearest is the member itself.
        torch.cdist(x.double(), x.double()).kthvalue(neighbours + 1).values
        for x in (real, generated)
    )
    return PrecisionRecall((across <= radius_real).any(1), (across <= radius_generated[:, None]).any(0))


def _mmd(x: Tensor, y: Tensor) -> Tensor:
    n = len(x)
    within = sum((k.sum() - k.diagonal().sum()) / (n * (n - 1)) for k in (_kernel(x, x), _kernel(y, y)))
    return within - 2 * _kernel(x, y).mean()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean, and R with R' R the covariance, at most N x F; float64."""
    if features.ndim != 2 or len(features) < 2:
        raise UnlogitError(f"features of shape {tuple(features.shape)}: must be N x F, with N at least 2")
    features = features.double()
    mean = features.mean(0)
    return mean, torch.linalg.qr((features - mean) / (len(features) - 1) ** 0.5, mode="r").R
