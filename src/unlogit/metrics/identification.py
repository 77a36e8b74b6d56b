"""Identification of a reconstruction's original among others, and the bits of information that this proves.

A critic scores how well an original fits a reconstruction: a weighted sum of similarities, whose weights (a
temperature each) are fitted on other images than those that it scores. With it, among N originals of which one is the
image's own,

    log2 N - E[cross-entropy of identifying the own one, in bits]

is a lower bound of the mutual information between image and reconstruction, whatever the critic: InfoNCE (Oord et
al. 2018; Poole et al. 2019, eq. 10). It cannot exceed log2 N. Where all N are of one class, it bounds the
information beyond that class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy import special
from torch import Tensor
from torch.nn import functional as F

from unlogit.errors import UnlogitError
from unlogit.statistics import Difference, Estimate, enclosing, two_sided

STEPS = 60
"""Largest number of iterations of LBFGS, which fits a critic's few weights."""


@dataclass(frozen=True)
class Lineups:
    """Groups of originals (line-ups), in which each reconstruction's own original is to be identified.

    Attributes:
        places: indices of the images, int64, groups x N; no image is in two groups.
    """

    places: Tensor

    @property
    def among(self) -> int:
        """Number of originals in a line-up, N."""
        return self.places.shape[1]

    @staticmethod
    def drawn(classes: Tensor, among: int, seed: int) -> Lineups:
        """Return random line-ups of one class each; images of a class beyond a whole line-up are left out.

        Args:
            classes: int64, one per image; all equal for line-ups of any class.
            among: number of originals in a line-up.
            seed: random seed of the draw.
        """
        generator = torch.Generator().manual_seed(seed)
        groups = []
        for kind in classes.unique().tolist():
            members = (classes == kind).nonzero()[:, 0]
            members = members[torch.randperm(len(members), generator=generator)]
            groups.append(members[: len(members) // among * among].view(-1, among))
        return Lineups(torch.cat(groups))

    def similarity(self, reconstructions: Tensor, originals: Tensor) -> Tensor:
        """Return minus the squared distance of each reconstruction to each original in its line-up, groups x N x N.

        Args:
            reconstructions: a vector per reconstruction, M x F; at length one, distances order as cosines do.
            originals: a vector per original, likewise.
        """
        a, b = reconstructions[self.places].double(), originals[self.places].double()
        return 2 * a @ b.transpose(1, 2) - a.square().sum(2, keepdim=True) - b.square().sum(2)[:, None]


def ranks(scores: Tensor) -> Tensor:
    """Return how many others fit better than the own original, groups x N, from 0; a tie counts half.

    Args:
        scores: row i of a line-up holds how well each original fits reconstruction i; groups x N x N.
    """
    own = scores.diagonal(dim1=1, dim2=2).unsqueeze(2)
    ties = (scores == own).sum(2) - 1
    return (scores > own).sum(2) + ties / 2


def named(scores: Tensor) -> Tensor:
    """Return the probability of identifying the own original, groups x N; k originals tied for the first get 1 / k."""
    best = scores == scores.amax(2, keepdim=True)
    return (best.diagonal(dim1=1, dim2=2) / best.sum(2)).double()


def bits(scores: Tensor, seed: int = 0) -> Tensor:
    """Return the bits that each image contributes, groups x N, whose mean is the lower bound.

    The critic's weights are fitted on one half of the line-ups and evaluated on the other, and vice versa, so that
    no image is scored by weights that were fitted on it.

    Args:
        scores: one similarity, groups x N x N, or K to be combined, K x groups x N x N; at least two line-ups.
        seed: random seed of the halving.
    """
    each = scores if scores.ndim == 4 else scores[None]
    groups, among = each.shape[1:3]
    if groups < 2:
        raise UnlogitError(f"{groups} line-up: must be at least 2; give more images")
    order = torch.randperm(groups, generator=torch.Generator().manual_seed(seed))
    result = torch.empty(groups, among, dtype=torch.double)
    halves = order[: groups // 2], order[groups // 2 :]
    for scored, fitted in (halves, halves[::-1]):
        weights = _fit(each[:, fitted].double())
        result[scored] = (math.log(among) - _cross_entropy(each[:, scored].double(), weights)) / math.log(2)
    return result


def over_lineups(values: Tensor, lowest: float, highest: float, level: float = 0.95) -> Estimate:
    """Return the mean of groups x N values with an interval over line-ups, within which values depend on each other.

    The interval is Student's, since a bootstrap of a handful of line-ups is too narrow. At least two are needed.
    `lowest` and `highest` are the limits of the mean's range.
    """
    means = values.mean(1)
    groups = len(means)
    if groups < 2:
        raise UnlogitError(f"{groups} line-up: must be at least 2; give more images")
    half = float(special.stdtrit(groups - 1, (1 + level) / 2)) * float(means.std()) / groups**0.5
    value = float(means.mean())
    return enclosing(value, max(lowest, value - half), min(highest, value + half), values.numel())


def difference_over_lineups(a: Tensor, b: Tensor) -> Difference:
    """Test the mean of a - b, groups x N each, over the same line-ups (paired Student's test)."""
    estimate = over_lineups(a - b, -math.inf, math.inf)
    means = (a - b).mean(1)
    error = float(means.std()) / len(means) ** 0.5
    if error < 1e-12:
        return Difference(estimate, float(abs(estimate.value) < 1e-12))
    return Difference(estimate, two_sided(estimate.value / error, len(means) - 1))


def fano(accuracy: float, among: int) -> float:
    """Return the bound in bits by the accuracy among N equally likely originals (Fano 1961; Cover and Thomas 2.10).

    Weaker than `bits`, which also uses the confidence of each answer, but it needs no critic. Zero below chance.
    """
    if not (0 <= accuracy <= 1 and among >= 2):
        raise UnlogitError(f"accuracy {accuracy} among {among}: must be 0 to 1, among at least 2")
    if accuracy <= 1 / among:
        return 0.0
    wrong = 1 - accuracy
    doubt = sum(-p * math.log2(p) for p in (accuracy, wrong) if p > 0)
    return math.log2(among) - doubt - wrong * math.log2(among - 1)


def entropy(classes: Tensor) -> float:
    """Return the entropy of the classes, int64, N, in bits: the information in the class. Too low at small N."""
    shares = classes.unique(return_counts=True)[1].double() / len(classes)
    return float(-(shares * shares.log2()).sum())


def _fit(scores: Tensor) -> Tensor:
    """Return non-negative weights of the similarities, K, that maximise the likelihood of the own originals."""
    # Similarities are brought to one scale, so that one initial value and one step size suit all.
    scale = scores.std((1, 2, 3)).clamp(min=1e-12)
    raw = torch.zeros(len(scores), dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([raw], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = _cross_entropy(scores, F.softplus(raw) / scale).mean()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call, arg-type]
    return (F.softplus(raw) / scale).detach()


def _cross_entropy(scores: Tensor, weights: Tensor) -> Tensor:
    """Return the log-loss of identifying the own original, in nats, groups x N."""
    combined = torch.einsum("k,kgij->gij", weights, scores)
    return combined.logsumexp(2) - combined.diagonal(dim1=1, dim2=2)
