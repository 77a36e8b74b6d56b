"""How near reconstructions are to their originals, one value a picture: what several analyses compare groups by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unlogit.analyses._base import Better, Column
from unlogit.analyses._evidence import CHUNK, Evidence, Pictures, Reconstructed
from unlogit.intervals import Estimate, bootstrap, weighted_bootstrap, wilson
from unlogit.metrics.pixel import layout, layout_cosine, pixel_error
from unlogit.metrics.reencoding import agreement, logit_cosine, logit_error
from unlogit.metrics.structural import WINDOW, ssim


@dataclass(frozen=True)
class Merit:
    """One figure of merit; `proportion` says that its values are 0 and 1."""

    name: str
    title: str
    better: Better
    explanation: str
    proportion: bool = False
    unit: str = ""

    @property
    def column(self) -> Column:
        return Column(self.title, self.better, self.explanation)

    def estimate(self, values: Tensor, seed: int) -> Estimate:
        """Of one value a picture: the share with Wilson's interval, or the mean with a bootstrap one."""
        return wilson(int(values.sum()), len(values)) if self.proportion else bootstrap(values, seed)

    def gain(self, difference: Estimate) -> int:
        """1 where a difference is an improvement, -1 where it is the opposite, 0 where its interval holds 0."""
        up = (difference.low > 0) - (difference.high < 0)
        return up if self.better == "higher" else -up


LOGITS = (
    Merit(
        "agreement",
        "same class",
        "higher",
        "how often the classifier predicts for the reconstruction the class that it predicts for the original",
        proportion=True,
        unit="share",
    ),
    Merit(
        "agreement_top5",
        "class in top 5",
        "higher",
        "how often the original's predicted class is among the five likeliest of the reconstruction",
        proportion=True,
        unit="share",
    ),
    Merit(
        "logit_cosine",
        "logit cosine",
        "higher",
        "cosine between the logits of original and reconstruction, both less the originals' mean: 1 for the same "
        "direction, 0 for two strangers",
    ),
    Merit(
        "logit_error",
        "re-encoding error",
        "lower",
        "mean squared difference of the two logit vectors in units of each logit's variance over originals: 0 for "
        "equal ones, 2 for two strangers",
    ),
)
PIXELS = (
    Merit("pixel_error", "pixel error", "lower", "mean squared difference of pixels in [0, 1]"),
    Merit(
        "layout_cosine",
        "layout cosine",
        "higher",
        "cosine between the coarse colours (4 x 4 areas, blind to left and right) of original and reconstruction, less "
        "the originals' mean",
    ),
    Merit("ssim", "SSIM", "higher", f"structural similarity in windows of {WINDOW} px: 1 for equal pictures"),
)
SHORT = tuple(m for m in LOGITS + PIXELS if m.name not in ("agreement_top5", "logit_error"))
"""Those that analyses compare groups of pictures by."""


@dataclass(frozen=True)
class Ruler:
    """The constants of the held-out pictures, by which pictures of any other kind are measured too.

    Attributes:
        centre: the originals' mean layout.
        mean, spread: of each logit over the originals, K.
    """

    centre: Tensor
    mean: Tensor
    spread: Tensor

    @staticmethod
    def of(evidence: Evidence, name: str) -> Ruler:
        """For inverter `name`."""
        logits = evidence.encoded(name).logits
        centre = torch.cat([layout(images) for images in evidence.originals.chunks()]).mean(0)
        return Ruler(centre, logits.mean(0), logits.std(0).clamp(min=1e-6))

    def __call__(self, originals: Pictures, made: Reconstructed) -> dict[str, Tensor]:
        """By the names of `LOGITS` and `PIXELS`, one value a picture, N."""
        by_chunk = over(originals, made.pictures)
        return {
            "agreement": agreement(made.logits, made.reencoded),
            "agreement_top5": agreement(made.logits, made.reencoded, k=min(5, made.logits.shape[1])),
            "logit_cosine": logit_cosine(made.logits - self.mean, made.reencoded - self.mean),
            "logit_error": logit_error(made.logits / self.spread, made.reencoded / self.spread),
            "pixel_error": by_chunk(pixel_error),
            "layout_cosine": by_chunk(lambda a, b: layout_cosine(a, b, self.centre)),
            "ssim": by_chunk(ssim),
        }


def over(a: Pictures, b: Pictures) -> Callable[[Callable[[Tensor, Tensor], Tensor]], Tensor]:
    """Applies a function of two batches of pixels to two sets of pictures, chunk by chunk."""

    def apply(function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return torch.cat([function(a[i : i + CHUNK], b[i : i + CHUNK]) for i in range(0, len(a), CHUNK)])

    return apply


def fidelity(evidence: Evidence, name: str) -> dict[str, Tensor]:
    """Of all held-out pictures as inverter `name` reconstructs them."""
    return Ruler.of(evidence, name)(evidence.originals, evidence.reconstructed(name))


def difference(a: Tensor, b: Tensor, seed: int) -> Estimate:
    """Mean of a less mean of b, of different pictures, with a bootstrap interval over both; n is how many a has."""
    values = torch.cat([a, b]).double()
    first = (torch.arange(len(values)) < len(a)).double()

    def statistic(weights: Tensor) -> Tensor:
        return _mean(values, weights * first) - _mean(values, weights * (1 - first))

    return replace(weighted_bootstrap(statistic, len(values), seed), n=len(a))


def matched_difference(values: Tensor, marked: Tensor, classes: Tensor, seed: int) -> Estimate:
    """Marked pictures less unmarked ones of the same class, averaged over the marked: what is not the class's doing.

    Args:
        values: one a picture, N.
        marked: bool, N.
        classes: int64, N; classes that have no pictures of one of the two kinds are left out.
        seed: of the resampling.

    Returns:
        The difference with a bootstrap interval over pictures; n is how many of both kinds took part.
    """
    both = [c for c in classes.unique().tolist() if 0 < int(marked[classes == c].sum()) < int((classes == c).sum())]
    taken = torch.isin(classes, torch.tensor(both))
    values, marked, classes = values[taken].double(), marked[taken], classes[taken]

    def statistic(weights: Tensor) -> Tensor:
        total = torch.zeros(len(weights), dtype=torch.double)
        count = torch.zeros_like(total)
        for c in both:
            yes, no = (weights * ((classes == c) & (marked == side)) for side in (True, False))
            share = yes.sum(1) * (no.sum(1) > 0)
            total += share * (_mean(values, yes) - _mean(values, no))
            count += share
        return total / count.clamp(min=1e-12)

    return weighted_bootstrap(statistic, len(values), seed)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted means, R, of N values by R x N weights."""
    return weights @ values / weights.sum(1).clamp(min=1e-12)


def verdict(merits: tuple[Merit, ...], differences: list[Estimate]) -> str:
    """Of which figures of merit an interval of differences excludes 0, and to which side."""
    sides: dict[str, list[str]] = {"better in": [], "worse in": [], "not told apart in": []}
    for merit, d in zip(merits, differences, strict=True):
        sides[("not told apart in", "better in", "worse in")[merit.gain(d)]].append(merit.title)
    return ", ".join(f"{side} {listed(titles)}" for side, titles in sides.items() if titles)


def listed(words: list[str]) -> str:
    """Words as an English list."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
