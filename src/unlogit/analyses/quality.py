"""The table of validation figures, after the paper's Table 2: each with an interval, and paired differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor

from unlogit.analyses import Cell, Column, Evidence, Figure, Finding, Number, Reconstructed, Result, Table
from unlogit.analyses._base import Better
from unlogit.analyses._evidence import CHUNK, Pictures
from unlogit.analyses._style import INK, colour, panels, style
from unlogit.classifiers import Classifier, open_classifier
from unlogit.intervals import Estimate, bootstrap, paired_bootstrap, wilson
from unlogit.metrics.distribution import fid_interval, kid
from unlogit.metrics.diversity import diversity
from unlogit.metrics.pixel import layout, layout_cosine, layout_top, pixel_error
from unlogit.metrics.reencoding import agreement, logit_cosine, logit_error

TITLE = "Quality"
PLACE = 20
QUESTION = "How near is each reconstruction to its original, for the classifier and for a ruler?"

AMONG = 48
"""Originals that the own one is told from by its layout."""
GROUPS = 10
"""Of pictures left out in turn for FID's interval."""


@dataclass(frozen=True)
class Config:
    """How much is measured."""

    draws: int = 4
    """Noises a picture for diversity."""
    diversity_pictures: int = 256
    features: str | None = None
    """Classifier in whose penultimate layer FID and KID are taken, as source:name; one that training did not use,
    such as packaged:efficientnet_lite2."""
    kid_subsets: int = 100
    kid_subset_size: int = 1_000
    """At most half of the pictures."""


@dataclass(frozen=True)
class Merit:
    """One figure of merit."""

    name: str
    title: str
    better: Better
    explanation: str
    proportion: bool = False
    unit: str = ""


MERITS = (
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
    Merit(
        "pixel_error",
        "pixel error",
        "lower",
        "mean squared difference of pixels in [0, 1]",
    ),
    Merit(
        "layout_cosine",
        "layout cosine",
        "higher",
        "cosine between the coarse colours (4 x 4 areas, blind to left and right) of original and reconstruction, less "
        "the originals' mean",
    ),
    Merit(
        "layout_top5",
        "layout top 5",
        "higher",
        f"how often the own original is among the 5 of {AMONG} whose coarse colours are nearest; by chance "
        f"{5 / AMONG:.2f}",
        proportion=True,
        unit="share",
    ),
    Merit(
        "diversity",
        "diversity",
        None,
        "root mean squared pixel distance between reconstructions of one picture from different noise: what the "
        "generator adds by itself",
    ),
)
FID = Merit(
    "fid",
    "FID",
    "lower",
    "Fréchet distance between the features of all originals and all reconstructions: do they look like pictures, be "
    "they the right ones or not; too high at few pictures, so compare only columns of this table",
)
KID = Merit("kid", "KID", "lower", "the same question by a kernel distance, which few pictures do not bias")


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yields the table with its numbers, the same as a figure, and paired differences to the first inverter."""
    values = {name: per_picture(config, evidence, name) for name in evidence.inverters}
    merits = list(MERITS)
    estimates = {name: _estimates(each, evidence.seed) for name, each in values.items()}
    if config.features is not None:
        merits += [FID, KID]
        for name, found in _distances(config, evidence).items():
            estimates[name] |= found
    columns = tuple(Column(m.title, m.better, m.explanation) for m in merits)
    rows = tuple((name, *(found.get(m.name) for m in merits)) for name, found in estimates.items())
    yield Table("quality", "Figures of merit", _caption(config, evidence), (Column("inverter"), *columns), rows)
    with style():
        drawn = _draw(evidence, merits, estimates)
    caption = "Dots are the values of the table below, lines their intervals; an arrow says which way is better."
    yield Figure("quality", "The same at a glance", caption, drawn)
    for name, found in estimates.items():
        for m in merits:
            if m.name in found:
                yield Number(m.name, name, found[m.name], m.unit, m.better)
    if len(values) > 1:
        yield from _differences(evidence, values)


def per_picture(config: Config, evidence: Evidence, name: str) -> dict[str, Tensor]:
    """By figure of merit, one value a picture, N; diversity on some of them, and absent where there is no noise.

    Pictures are in a random order, the same for every inverter: `layout_top` takes them in groups, and a source may
    be sorted by class.
    """
    order = evidence.sample(len(evidence), evidence.seed)
    made = evidence.reconstructed(name)
    centre = torch.cat([layout(images) for images in evidence.originals.chunks()]).mean(0)
    values = _of_logits(made)
    values["pixel_error"] = _by_chunk(pixel_error, evidence.originals, made.pictures, CHUNK)
    values["layout_cosine"] = _by_chunk(
        lambda a, b: layout_cosine(a, b, centre), evidence.originals, made.pictures, CHUNK
    )
    values = {key: value[order] for key, value in values.items()}
    if len(order) >= AMONG:
        whole = order[: len(order) // AMONG * AMONG]
        values["layout_top5"] = torch.cat(
            [
                layout_top(evidence.originals[group], made.pictures[group], centre, 5, AMONG)
                for group in whole.split(AMONG)
            ]
        )
    draws = evidence.draws(name, order[: config.diversity_pictures], config.draws)
    if draws is not None:
        values["diversity"] = diversity(draws)
    return values


def _of_logits(made: Reconstructed) -> dict[str, Tensor]:
    mean, spread = made.logits.mean(0), made.logits.std(0).clamp(min=1e-6)
    return {
        "agreement": agreement(made.logits, made.reencoded),
        "agreement_top5": agreement(made.logits, made.reencoded, k=min(5, made.logits.shape[1])),
        "logit_cosine": logit_cosine(made.logits - mean, made.reencoded - mean),
        "logit_error": logit_error(made.logits / spread, made.reencoded / spread),
    }


def _by_chunk(function: Callable[[Tensor, Tensor], Tensor], a: Pictures, b: Pictures, size: int) -> Tensor:
    return torch.cat([function(a[i : i + size], b[i : i + size]) for i in range(0, len(a), size)])


def _estimates(values: dict[str, Tensor], seed: int) -> dict[str, Estimate]:
    found = {}
    for m in MERITS:
        if m.name in values:
            value = values[m.name]
            found[m.name] = wilson(int(value.sum()), len(value)) if m.proportion else bootstrap(value, seed)
    return found


@torch.no_grad()
def _distances(config: Config, evidence: Evidence) -> dict[str, dict[str, Estimate]]:
    """FID and KID of every inverter."""
    assert config.features is not None
    network = open_classifier(config.features)
    originals = _features(network, evidence.originals)
    found: dict[str, dict[str, Estimate]] = {}
    for name in evidence.inverters:
        made = _features(network, evidence.reconstructed(name).pictures)
        n = len(made)
        found[name] = {}
        if n >= 2 * GROUPS:
            found[name]["fid"] = fid_interval(originals, made, GROUPS)
        if n >= 4:
            generator = torch.Generator().manual_seed(evidence.seed)
            size = min(config.kid_subset_size, n // 2)
            distance = kid(originals, made, subsets=config.kid_subsets, subset_size=size, generator=generator)
            found[name]["kid"] = distance.estimate(n)
    return found


def _features(network: Classifier, pictures: Pictures) -> Tensor:
    return torch.cat([network.features(images, ["penultimate"])["penultimate"] for images in pictures.chunks()])


def _caption(config: Config, evidence: Evidence) -> str:
    caption = (
        f"{len(evidence):,} held-out pictures of {evidence.source.spec}; under each value its 95 % interval over "
        "pictures (Wilson's for shares, else bootstrap). Each reconstruction is seen again by its own inverter's "
        "classifier, and across classifiers each is held against its own classifier's answers."
    )
    if config.features is not None:
        size = min(config.kid_subset_size, len(evidence) // 2)
        caption += (
            f" FID and KID of {len(evidence):,} pictures in the penultimate layer of {config.features}; FID's "
            "interval is a jackknife's, KID's the "
            f"range of {config.kid_subsets} random subsets of {size}."
        )
    return caption


def _draw(evidence: Evidence, merits: list[Merit], estimates: dict[str, dict[str, Estimate]]) -> Drawing:
    shown = [m for m in merits if any(m.name in found for found in estimates.values())]
    across = 4
    down = -(-len(shown) // across)
    names = list(estimates)
    figure, axes = panels(down, across, 0.75 + 0.2 * len(names))
    for axis, m in zip(axes, shown, strict=False):
        for place, name in enumerate(names):
            e = estimates[name].get(m.name)
            if e is not None:
                axis.plot([e.low, e.high], [place, place], color=colour(place), linewidth=2.2, solid_capstyle="round")
                axis.plot(e.value, place, "o", color=colour(place), markersize=5)
        arrow = {"higher": " ↑", "lower": " ↓", None: ""}[m.better]
        axis.set_title(m.title + arrow)
        axis.margins(x=0.12)
        axis.set(ylim=(len(names) - 0.5, -0.5))
        axis.set_yticks(range(len(names)), names, parse_math=False)
        if axis not in axes[::across]:
            axis.set_yticklabels([])
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", labelcolor=INK)
        axis.locator_params(axis="x", nbins=4)
        axis.spines["left"].set_visible(False)
    for axis in axes[len(shown) :]:
        axis.axis("off")
    return figure


def _differences(evidence: Evidence, values: dict[str, dict[str, Tensor]]) -> Iterator[Result]:
    """The first inverter less each other one, over the same pictures, and in how many figures they truly differ."""
    first, *others = values
    merits = [m for m in MERITS if m.better and m.name in values[first]]
    rows: list[tuple[Cell, ...]] = []
    told = []
    for other in others:
        differences = [paired_bootstrap(values[first][m.name], values[other][m.name], evidence.seed) for m in merits]
        rows.append((other, *differences))
        told.append(f"Against {other}, {first} is {_verdict(merits, differences)}")
    title = f"What {first} does differently"
    caption = (
        f"{first} less each other inverter, paired over the same pictures, with 95 % bootstrap intervals: the two "
        "differ where an interval excludes 0."
    )
    columns = tuple(Column(m.title) for m in merits)
    yield Table("differences", title, caption, (Column(f"{first} less"), *columns), tuple(rows))
    for text in told:
        yield Finding(f"{text} (by paired 95 % intervals).")


def _verdict(merits: list[Merit], differences: list[Estimate]) -> str:
    """Of which figures of merit an interval of differences excludes 0, and to which side."""
    sides: dict[str, list[str]] = {"better in": [], "worse in": [], "not told apart in": []}
    for m, d in zip(merits, differences, strict=True):
        up = (d.low > 0) - (d.high < 0)
        good = up if m.better == "higher" else -up
        sides[("not told apart in", "better in", "worse in")[good]].append(m.title)
    return ", ".join(f"{side} {listed(titles)}" for side, titles in sides.items() if titles)


def listed(words: list[str]) -> str:
    """Words as an English list."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
