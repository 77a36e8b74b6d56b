"""Fidelity of reconstructions to their originals, one value per image, for several analyses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unlogit.analyses._base import Better, Column
from unlogit.analyses._evidence import CHUNK, Evidence, Images, Reconstructed
from unlogit.metrics.pixel import WINDOW, layout, layout_cosine, pixel_error, ssim
from unlogit.metrics.reencoding import agreement, logit_cosine, logit_error
from unlogit.settings import Checked, Rate
from unlogit.statistics import Difference, Estimate, bootstrap, statistic_test, wilson


@dataclass(frozen=True)
class MetricInfo:
    """Description of a metric; if `proportion`, its values are 0 and 1."""

    name: str
    title: str
    better: Better
    explanation: str
    proportion: bool = False
    unit: str = ""
    chance: float | None = None

    @property
    def column(self) -> Column:
        return Column(self.title, self.better, self.explanation, self.chance)

    def named(self, name: str, title: str) -> MetricInfo:
        """Return the same measure of something else, under another name."""
        return replace(self, name=name, title=title)

    def estimate(self, values: Tensor, seed: int) -> Estimate:
        """Return, of one value per image, the share with Wilson's interval or the mean with a bootstrap one."""
        return wilson(int(values.sum()), len(values)) if self.proportion else bootstrap(values, seed)

    def gain(self, difference: Difference) -> int:
        """Return 1 where a difference is a significant improvement, -1 for the opposite, 0 where not significant."""
        if not difference.significant:
            return 0
        return 1 if (difference.estimate.value > 0) == (self.better == "higher") else -1


LOGITS = (
    MetricInfo(
        "agreement",
        "same class",
        "higher",
        "how often the classifier predicts for the reconstruction the class that it predicts for the original",
        proportion=True,
        unit="share",
    ),
    MetricInfo(
        "agreement_top5",
        "class in top 5",
        "higher",
        "how often the original's predicted class is among the five likeliest of the reconstruction",
        proportion=True,
        unit="share",
    ),
    MetricInfo(
        "logit_cosine",
        "logit cosine",
        "higher",
        "cosine between the logits of original and reconstruction, both less the originals' mean: 1 for the same "
        "direction, about 0 for unrelated images",
        chance=0,
    ),
    MetricInfo(
        "logit_error",
        "re-encoding error",
        "lower",
        "mean squared difference of the two logit vectors in units of each logit's variance over originals: 0 for "
        "equal ones, 2 for unrelated images",
    ),
)
PIXELS = (
    MetricInfo("pixel_error", "pixel error", "lower", "mean squared difference of pixels in [0, 1]"),
    MetricInfo(
        "layout_cosine",
        "layout cosine",
        "higher",
        "cosine between the coarse colours (4 x 4 areas, blind to left and right) of original and reconstruction, less "
        "the originals' mean",
        chance=0,
    ),
    MetricInfo("ssim", "SSIM", "higher", f"structural similarity in windows of {WINDOW} px: 1 for equal images"),
)
PERCEPTUAL = MetricInfo(
    "perceptual_distance",
    "perceptual distance",
    "lower",
    "distance to the original in feature maps of a network other than the inverters' classifiers: 0 for equal images",
)
SHORT = tuple(m for m in LOGITS + PIXELS if m.name not in ("agreement_top5", "logit_error"))
"""Metrics by which analyses compare groups of images."""


@dataclass(frozen=True)
class Margins(Checked):
    """Sizes below which a difference counts as none, for tests of equivalence; chosen before any result is seen."""

    share: Rate = 0.05
    """Margin for shares of images, such as the share that keeps its class."""
    cosine: Rate = 0.05
    """Margin for cosines of logits and layouts."""
    pixel_error: Rate = 0.005
    """Margin for the mean squared error of pixels in [0, 1]."""
    ssim: Rate = 0.01
    """Margin for the structural similarity (SSIM)."""
    perceptual: Rate = 0.05
    """Margin for the perceptual distance."""
    looks: Rate = 0.1
    """Margin for brightness, contrast, sharpness and colourfulness, in standard deviations over the originals."""

    @classmethod
    def prefix(cls) -> str:
        return "margins."

    def of(self, metric: MetricInfo) -> float:
        """Return the margin of a metric of `SHORT`."""
        named = {"pixel_error": self.pixel_error, "ssim": self.ssim}
        return named.get(metric.name, self.share if metric.proportion else self.cosine)


@dataclass(frozen=True)
class ReferenceStatistics:
    """Statistics of the held-out images, by which other images are measured too.

    Attributes:
        centre: mean layout of the originals.
        mean, spread: mean and standard deviation of each logit over the originals, K.
    """

    centre: Tensor
    mean: Tensor
    spread: Tensor

    @staticmethod
    def of(evidence: Evidence, name: str) -> ReferenceStatistics:
        """Return the statistics for inverter `name`."""
        logits = evidence.encoded(name).logits
        centre = torch.cat([layout(images) for images in evidence.originals.chunks()]).mean(0)
        return ReferenceStatistics(centre, logits.mean(0), logits.std(0).clamp(min=1e-6))

    def __call__(self, originals: Images, reconstructed: Reconstructed) -> dict[str, Tensor]:
        """Return by the names of `LOGITS` and `PIXELS` one value per image, N."""
        by_chunk = over(originals, reconstructed.images)
        return {
            "agreement": agreement(reconstructed.logits, reconstructed.reencoded),
            "agreement_top5": agreement(
                reconstructed.logits, reconstructed.reencoded, k=min(5, reconstructed.logits.shape[1])
            ),
            "logit_cosine": logit_cosine(reconstructed.logits - self.mean, reconstructed.reencoded - self.mean),
            "logit_error": logit_error(reconstructed.logits / self.spread, reconstructed.reencoded / self.spread),
            "pixel_error": by_chunk(pixel_error),
            "layout_cosine": by_chunk(lambda a, b: layout_cosine(a, b, self.centre)),
            "ssim": by_chunk(ssim),
        }


def over(a: Images, b: Images) -> Callable[[Callable[[Tensor, Tensor], Tensor]], Tensor]:
    """Return a function that applies a function of two batches of pixels to two sets of images, chunk by chunk."""

    def apply(function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return torch.cat([function(a[i : i + CHUNK], b[i : i + CHUNK]) for i in range(0, len(a), CHUNK)])

    return apply


def fidelity(evidence: Evidence, name: str) -> dict[str, Tensor]:
    """Return the metrics of all held-out images as inverter `name` reconstructs them."""
    return ReferenceStatistics.of(evidence, name)(evidence.originals, evidence.reconstructed(name))


def common_metrics(evidence: Evidence) -> tuple[MetricInfo, ...]:
    """Return the metrics that are comparable between inverters.

    Metrics of the logits are not: each inverter's are of its own classifier, so that a difference may be due to the
    classifiers and not to the reconstructions.
    """
    return PIXELS if evidence.independent is None else (*PIXELS, PERCEPTUAL)


def common_fidelity(evidence: Evidence, name: str) -> dict[str, Tensor]:
    """Return the values of `common_metrics` for all held-out images as inverter `name` reconstructs them, N each."""
    values = fidelity(evidence, name)
    if evidence.independent is not None:
        apply = over(evidence.originals, evidence.reconstructed(name).images)
        values[PERCEPTUAL.name] = apply(evidence.independent.distance)
    return {m.name: values[m.name] for m in common_metrics(evidence)}


def difference(a: Tensor, b: Tensor, seed: int) -> Difference:
    """Test the mean of a less the mean of b, of different images; n is the number of images that a has."""
    values = torch.cat([a, b]).double()
    first = (torch.arange(len(values)) < len(a)).double()

    def statistic(weights: Tensor) -> Tensor:
        return _mean(values, weights * first) - _mean(values, weights * (1 - first))

    test = statistic_test(statistic, len(values), seed)
    return replace(test, estimate=replace(test.estimate, n=len(a)))


def matched_difference(
    values: Tensor, marked: Tensor, classes: Tensor, seed: int, margin: float | None = None
) -> Difference:
    """Test marked images less unmarked ones of the same class, averaged over the marked, so that classes cancel.

    Args:
        values: one per image, N.
        marked: bool, N.
        classes: int64, N; classes that have no images of one of the two kinds are left out.
        seed: random seed of the resampling.
        margin: size below which the difference counts as none.

    Returns:
        The difference, whose n is the number of images of both kinds that took part.
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

    return statistic_test(statistic, len(values), seed, margin)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return weighted means, R, of N values by R x N weights."""
    return weights @ values / weights.sum(1).clamp(min=1e-12)


def verdict(metrics: Sequence[MetricInfo], differences: Mapping[str, Difference]) -> str:
    """Return in words in which metrics a difference is significant, and its direction."""
    sides: dict[str, list[str]] = {"better in": [], "worse in": [], "not significantly different in": []}
    for metric in metrics:
        side = ("not significantly different in", "better in", "worse in")[metric.gain(differences[metric.name])]
        sides[side].append(metric.title)
    return ", ".join(f"{side} {listed(titles)}" for side, titles in sides.items() if titles)


def listed(words: list[str]) -> str:
    """Return words as an English list."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
