"""Figures 3 and 4 of the paper: the same logits with other noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._evidence import Images
from unlogit.analyses._fidelity import MetricInfo, listed
from unlogit.analyses._paired import format_share, pair_tests, report_pairs
from unlogit.drawing import colour, inverter_blocks, panels, sheet, style
from unlogit.methods.biggan.config import FIRST_LAYER
from unlogit.metrics.embedding import Embedding, Pixels
from unlogit.metrics.variance import TwoWay
from unlogit.outside import figure_text
from unlogit.settings import Count, Several
from unlogit.statistics import Difference, Estimate, bootstrap, statistic_test, weighted_bootstrap

TITLE = "Resampled noise"
QUESTION = "How much of a reconstruction changes with the noise alone?"

MEASURES = {
    "diversity": ("diversity", "distance between two reconstructions of one image from different noise"),
    "share": ("moved by noise", "share of the variance over images and noises that a new noise moves"),
    "common": ("in all alike", "share of the variance by which a noise changes every image in the same way"),
}


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Number of images and noises."""

    draws: Several = 4
    """Number of noise vectors, each of which is used for every image."""
    num_images: Several = 128
    """Number of images measured."""
    shown: Count = 4
    """Number of images shown."""
    shown_draws: Count = 6
    """Number of noise vectors shown per image."""


@dataclass(frozen=True)
class Moved:
    """Variance of an inverter's images in one embedding.

    Attributes:
        layout: two-way layout of every noise with every image.
        diversity: mean distance between two reconstructions of an image, N.
        estimates: estimates by the keys of `MEASURES`.
        components: shares of the variance: of the logits, of the noise, and of their interaction.
    """

    layout: TwoWay
    diversity: Tensor
    estimates: dict[str, Estimate]
    components: tuple[float, ...]


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield images, variance components and diversities; nothing if no inverter has noise."""
    names = evidence.noisy()
    if not names:
        return
    which = evidence.sample(config.num_images, evidence.seed)
    draws = {name: _draws(evidence, name, which, max(config.draws, config.shown_draws)) for name in names}
    blocks = inverter_blocks(
        evidence.inverters,
        {"original": evidence.originals.bytes[which[: config.shown]]},
        {
            name: {f"noise {d + 1}": draws[name][d].bytes[: config.shown] for d in range(config.shown_draws)}
            for name in names
        },
    )
    caption = "One row per image; one column per noise, the same in all rows."
    with style():
        yield Figure("images", "One image, many noises", caption, sheet(blocks))
    spaces: dict[str, Embedding] = {"pixels": Pixels()}
    if evidence.features is not None:
        spaces["perceptual"] = evidence.embedding
    moved = {
        name: {
            space: _moved(embedding, draws[name][: config.draws], evidence.seed) for space, embedding in spaces.items()
        }
        for name in names
    }
    measured = f"{len(which):,} images times {config.draws} noises, every noise with every image; distance in " + (
        " and perceptually, in ".join(embedding.name for embedding in spaces.values())
    )
    caption = (
        f"A two-way decomposition of the variance (random effects) of {measured}. Full colour: what the logits move "
        "whatever the noise; middle: what a noise moves in all images alike; light: what it moves in each alone."
    )
    with style():
        yield Figure("variance", "What moves the images", caption, _draw(evidence, moved))
    rows: list[tuple[Cell, ...]] = [
        (name, *(moved[name][space].estimates[key] for space in spaces for key in MEASURES)) for name in names
    ]
    columns = [
        Column(f"{title}, {space}", None, explanation if space == "pixels" else "")
        for space in spaces
        for title, explanation in MEASURES.values()
    ]
    caption = f"Of {measured}; 95 % bootstrap CIs over images."
    yield Table("noise", "Diversity and shares", caption, (Column("inverter"), *columns), tuple(rows))
    for name in names:
        for space in spaces:
            for key, estimate in moved[name][space].estimates.items():
                yield Record(f"noise_{key}_{space}", name, estimate, "" if key == "diversity" else "share", None)
    yield _finding({name: each[list(spaces)[-1]].estimates["share"] for name, each in moved.items()}, list(spaces)[-1])
    if weak := [name for name in names if FIRST_LAYER in evidence.inverters[name].deviations]:
        yield Finding(
            f"Not a test of the paper's finding for {listed(weak)}: unlike in the paper, the representation enters the "
            "first layer too, so that noise has little effect, whatever the logits leave open."
        )
    yield from _compare(evidence, moved, len(which), measured)


def _draws(evidence: Evidence, name: str, which: Tensor, count: int) -> list[Images]:
    """Return the reconstructions of all images from each noise: a crossed design, which separates both effects."""
    raw = evidence.raw(name)[which]
    noises = evidence.noise(evidence.inverters[name], count, 0)
    assert noises is not None
    return [evidence.invert(name, raw, noise.expand(len(raw), *noise.shape)) for noise in noises]


def _moved(embedding: Embedding, draws: list[Images], seed: int) -> Moved:
    embedded = torch.stack([torch.cat([embedding(chunk) for chunk in images.chunks()]) for images in draws])
    layout, n = TwoWay.of(embedded), embedded.shape[1]
    pairs = torch.stack([(a - b).norm(dim=1) for a, b in combinations(embedded, 2)]).mean(0)
    estimates = {
        "diversity": bootstrap(pairs, seed),
        "share": weighted_bootstrap(layout.noise_share, n, seed),
        "common": weighted_bootstrap(layout.common_share, n, seed),
    }
    components = layout.components(torch.full((1, n), 1 / n, dtype=torch.double))[0]
    return Moved(layout, pairs, estimates, tuple((components / components.sum().clamp(min=1e-30)).tolist()))


def _draw(evidence: Evidence, moved: dict[str, dict[str, Moved]]) -> Drawing:
    spaces = list(next(iter(moved.values())))
    figure, axes = panels(1, len(spaces), 0.7 + 0.28 * len(moved), sharey=True)
    indices = list(evidence.inverters)
    for panel, space in zip(axes, spaces, strict=True):
        for row, name in enumerate(moved):
            ink, left = colour(indices.index(name)), 0.0
            for share, alpha in zip(moved[name][space].components, (1.0, 0.55, 0.25), strict=True):
                panel.barh(row, share, left=left, height=0.62, color=ink, alpha=alpha, linewidth=0)
                left += share
        panel.set_title(f"share of variance, {space}")
        panel.set_yticks(range(len(moved)), [figure_text(name) for name in moved])
        panel.set(xlim=(0, 1), ylim=(len(moved) - 0.5, -0.5))
        panel.grid(axis="y", visible=False)
    return figure


def _finding(shares: dict[str, Estimate], space: str) -> Finding:
    parts = ", ".join(f"{format_share(e)} for {name}" for name, e in shares.items())
    return Finding(f"The share of the variance ({space}) that a new noise moves is {parts}.")


def _compare(evidence: Evidence, moved: dict[str, dict[str, Moved]], n: int, measured: str) -> Iterator[Result]:
    """Yield the inverters compared, over the same images and noises."""
    metrics = []
    tests: dict[tuple[str, str, str], Difference] = {}
    for space in next(iter(moved.values())):
        diversity = MetricInfo(f"noise_diversity_{space}", f"diversity, {space}", None, MEASURES["diversity"][1])
        share = MetricInfo(f"noise_share_{space}", f"moved by noise, {space}", None, MEASURES["share"][1], unit="share")
        metrics += [diversity, share]
        values = {name: {diversity.name: each[space].diversity} for name, each in moved.items()}
        tests |= pair_tests([diversity], values, evidence.seed)
        for a, b in combinations(moved, 2):
            of_a, of_b = moved[a][space].layout, moved[b][space].layout

            def difference(weights: Tensor, of_a: TwoWay = of_a, of_b: TwoWay = of_b) -> Tensor:
                return of_a.noise_share(weights) - of_b.noise_share(weights)

            tests[a, b, share.name] = statistic_test(difference, n, evidence.seed)
    yield from report_pairs(metrics, tests, f"The first inverter less the second; {measured}.")
