"""The table of validation figures, after the paper's Table 2: each with an interval, and paired differences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor

from unlogit import metrics
from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Number, Result, Table
from unlogit.analyses._evidence import Pictures
from unlogit.analyses._fidelity import LOGITS, PIXELS, Merit, fidelity, over, verdict
from unlogit.analyses._style import INK, colour, panels, style
from unlogit.errors import UnlogitError
from unlogit.intervals import Estimate, holm, paired_bootstrap, sign_flip_test
from unlogit.metrics.distribution import fid_interval, kid, precision_recall
from unlogit.metrics.diversity import diversity
from unlogit.metrics.pixel import layout, layout_top
from unlogit.outside import figure_text
from unlogit.settings import Several

TITLE = "Quality"
PLACE = 20
QUESTION = "How near is each reconstruction to its original, for the classifier and for a ruler?"

AMONG = 48
"""Originals that the own one is told from by its layout."""
GROUPS = 10
"""Of pictures left out in turn for FID's interval."""
NEIGHBOURS = 3
"""How far a picture's ball reaches for precision and recall, as in their paper."""


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """How much is measured."""

    metrics: tuple[str, ...] = ("psnr", "st_lpips_alex", "lpips_alex", "lpips_vgg", "lpips_squeeze", "dists")
    """Further distances to the original, by name; those whose weights are not on this machine are left out and said."""
    metric_pictures: Several = 128
    """How many pictures those are measured on."""
    draws: Several = 4
    """Noises a picture, for diversity and for the best of them."""
    draw_pictures: Several = 256
    lenient: tuple[str, ...] = ("pixel_error", "ssim")
    """What is also measured the other way round and at the best of the noises."""
    kid_subsets: Several = 100
    kid_subset_size: Several = 1_000
    """At most half of the pictures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := set(self.metrics + self.lenient) & {m.name for m in LOGITS}:
            raise UnlogitError(f"metrics {', '.join(unknown)}: measured anyway, on all pictures")


TOP = Merit(
    "layout_top5",
    "layout top 5",
    "higher",
    f"how often the own original is among the 5 of {AMONG} whose coarse colours are nearest; by chance {5 / AMONG:.2f}",
    proportion=True,
    unit="share",
)
DIVERSITY = Merit(
    "diversity",
    "diversity",
    None,
    "root mean squared pixel distance between reconstructions of one picture from different noise: what the generator "
    "adds by itself",
)
MERITS = (*LOGITS, *PIXELS, TOP, DIVERSITY)
SETS = (
    Merit(
        "fid",
        "FID",
        "lower",
        "Fréchet distance between the features of all originals and all reconstructions: do they look like pictures, "
        "be they the right ones or not; too high at few pictures, so compare only values of this table",
    ),
    Merit("kid", "KID", "lower", "the same question by a kernel distance, which few pictures do not bias"),
    Merit(
        "precision",
        "precision",
        "higher",
        f"how many reconstructions lie among originals, nearer to one than its {NEIGHBOURS}rd neighbour: look real",
        unit="share",
    ),
    Merit(
        "recall",
        "recall",
        "higher",
        "how many originals lie among reconstructions in the same sense: nothing left out",
        unit="share",
    ),
)


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yields tables with their numbers, the same as a figure, and paired differences between inverters."""
    values = {name: per_picture(config, evidence, name) for name in evidence.inverters}
    estimates = {
        n: {m.name: m.estimate(v[m.name], evidence.seed) for m in MERITS if m.name in v} for n, v in values.items()
    }
    caption = (
        f"{len(evidence):,} images of {evidence.source.spec}; under each value its 95 % interval over "
        "pictures (Wilson's for shares, else bootstrap). Each reconstruction is seen again by its own inverter's "
        "classifier, and across classifiers each is held against its own classifier's answers."
    )
    yield _table("quality", "Figures of merit", caption, MERITS, estimates)
    shown = list(MERITS)
    for table, merits, found in (*_perceptual(config, evidence), *_lenient(config, evidence), *_sets(config, evidence)):
        yield table
        shown += merits
        estimates = {name: estimates[name] | found[name] for name in estimates}
    with style():
        drawn = _draw(shown, estimates)
    text = "Dots are the values of the tables, lines their intervals; an arrow says which way is better."
    yield Figure("quality", "The same at a glance", text, drawn)
    for name, each in estimates.items():
        for m in shown:
            if m.name in each:
                yield Number(m.name, name, each[m.name], m.unit, m.better)
    if len(values) > 1:
        yield from _differences(evidence, values)


def per_picture(config: Config, evidence: Evidence, name: str) -> dict[str, Tensor]:
    """By figure of merit, one value a picture, N; diversity on some of them, and absent where there is no noise.

    Pictures are in a random order, the same for every inverter: `layout_top` takes them in groups, and a source may
    be sorted by class.
    """
    order = evidence.sample(len(evidence), evidence.seed)
    made = evidence.reconstructed(name)
    values = {key: value[order] for key, value in fidelity(evidence, name).items()}
    if len(order) >= AMONG:
        centre = torch.cat([layout(images) for images in evidence.originals.chunks()]).mean(0)
        whole = order[: len(order) // AMONG * AMONG]
        pairs = [(evidence.originals[group], made.pictures[group]) for group in whole.split(AMONG)]
        values["layout_top5"] = torch.cat([layout_top(a, b, centre, 5, AMONG) for a, b in pairs])
    draws = evidence.draws(name, order[: config.draw_pictures], config.draws)
    if draws is not None:
        values["diversity"] = diversity(draws)
    return values


Found = tuple[Table, list[Merit], dict[str, dict[str, Estimate]]]


def _perceptual(config: Config, evidence: Evidence) -> Iterator[Found]:
    """The metrics that are asked for by name, where they can be had."""
    available, missing = [], []
    for name in config.metrics:
        try:
            available.append(metrics.get(name))
        except metrics.Unavailable as error:
            missing.append(str(error))
    which = evidence.sample(config.metric_pictures, evidence.seed)
    originals = Pictures(evidence.originals.bytes[which])
    found: dict[str, dict[str, Estimate]] = {}
    merits = [Merit(m.name, m.title, m.better, m.explanation) for m in available]
    for name in evidence.inverters:
        by_chunk = over(originals, Pictures(evidence.reconstructed(name).pictures.bytes[which]))
        measured = [(m, by_chunk(metric)) for m, metric in zip(merits, available, strict=True)]
        found[name] = {m.name: m.estimate(values, evidence.seed) for m, values in measured}
    caption = f"{len(which):,} of the same pictures, drawn at random, with bootstrap intervals."
    if missing:
        caption += f" Left out: {'; '.join(missing)}."
    if available:
        yield _table("perceptual", "Distances tuned to people", caption, merits, found), merits, found


def _lenient(config: Config, evidence: Evidence) -> Iterator[Found]:
    """What is nearer where the mirror image counts as well, and where the best of several noises does."""
    which = evidence.sample(config.draw_pictures, evidence.seed)
    originals = evidence.originals[which]
    merits: list[Merit] = []
    found: dict[str, dict[str, Estimate]] = {name: {} for name in evidence.inverters}
    for chosen in config.lenient:
        metric = metrics.get(chosen)
        flip = metric.flip_aware()
        best = Merit(
            f"{chosen}_best",
            f"{metric.title}, best of {config.draws}",
            metric.better,
            f"of {config.draws} reconstructions from different noise the nearest",
        )
        merits += [Merit(flip.name, flip.title, flip.better, flip.explanation), best]
        for name in evidence.inverters:
            values = flip(originals, evidence.reconstructed(name).pictures[which])
            found[name][flip.name] = merits[-2].estimate(values, evidence.seed)
            draws = evidence.draws(name, which, config.draws)
            if draws is not None:
                each = torch.stack([metric(originals, draw) for draw in draws])
                values = each.amax(0) if metric.better == "higher" else each.amin(0)
                found[name][best.name] = best.estimate(values, evidence.seed)
    caption = (
        f"The nearer of a reconstruction and its mirror image, and the nearest of {config.draws} noises, for "
        f"{len(which):,} pictures: what an inverter that has to guess gets wrong, and could have got right."
    )
    if merits:
        yield _table("lenient", "With the benefit of the doubt", caption, merits, found), merits, found


@torch.no_grad()
def _sets(config: Config, evidence: Evidence) -> Iterator[Found]:
    """Distances between the set of originals and that of reconstructions, where a feature network is given."""
    network = evidence.features
    n = len(evidence)
    if network is None or n < 2 * GROUPS:
        return

    def features(pictures: Pictures) -> Tensor:
        parts = [network.features(x.to(network.mean.device), ["penultimate"])["penultimate"] for x in pictures.chunks()]
        return torch.cat(parts).flatten(1).float().cpu()

    size = min(config.kid_subset_size, n // 2)
    originals = features(evidence.originals)
    found: dict[str, dict[str, Estimate]] = {}
    for name in evidence.inverters:
        made = features(evidence.reconstructed(name).pictures)
        generator = torch.Generator().manual_seed(evidence.seed)
        distance = kid(originals, made, subsets=config.kid_subsets, subset_size=size, generator=generator)
        shares = precision_recall(originals, made, NEIGHBOURS)
        found[name] = {
            "fid": fid_interval(originals, made, GROUPS),
            "kid": distance.estimate(n),
            "precision": shares.precision,
            "recall": shares.recall,
        }
    caption = (
        f"Of {n:,} pictures in the penultimate layer of {network.spec}; FID's interval is a jackknife's, KID's the "
        f"range of {config.kid_subsets} random subsets of {size}, those of precision and recall Wilson's."
    )
    yield _table("sets", "As a set", caption, SETS, found), list(SETS), found


def _table(
    name: str,
    title: str,
    caption: str,
    merits: tuple[Merit, ...] | list[Merit],
    estimates: dict[str, dict[str, Estimate]],
) -> Table:
    rows = tuple((inverter, *(found.get(m.name) for m in merits)) for inverter, found in estimates.items())
    return Table(name, title, caption, (Column("inverter"), *(m.column for m in merits)), rows)


def _draw(merits: list[Merit], estimates: dict[str, dict[str, Estimate]]) -> Drawing:
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
        axis.set_yticks(range(len(names)), [figure_text(name) for name in names])
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
    """The first inverter less each other one over the same pictures, and a test of every pair."""
    first, *others = values
    merits = tuple(m for m in MERITS if m.better and m.name in values[first])
    rows: list[tuple[Cell, ...]] = []
    told = []
    for other in others:
        differences = [paired_bootstrap(values[first][m.name], values[other][m.name], evidence.seed) for m in merits]
        rows.append((other, *differences))
        told.append(f"Against {other}, {first} is {verdict(merits, differences)}")
    title = f"What {first} does differently"
    caption = (
        f"{first} less each other inverter, paired over the same pictures, with 95 % bootstrap intervals: the two "
        "differ where an interval excludes 0."
    )
    columns = tuple(Column(m.title) for m in merits)
    yield Table("differences", title, caption, (Column(f"{first} less"), *columns), tuple(rows))
    yield _tests(merits, values, evidence.seed)
    for text in told:
        yield Finding(f"{text} (by paired 95 % intervals).")


def _tests(merits: tuple[Merit, ...], values: dict[str, dict[str, Tensor]], seed: int) -> Table:
    """How likely differences as large as seen are by chance, for every pair."""
    pairs = list(combinations(values, 2))
    columns = [
        sign_flip_test(
            torch.stack([values[a][m.name].double() - values[b][m.name].double() for a, b in pairs], 1), seed
        )
        for m in merits
    ]
    adjusted = holm(torch.stack(columns, 1))
    rows = tuple(
        (f"{a} – {b}", *("< 0.001" if p < 0.001 else f"{p:.3f}" for p in line))
        for (a, b), line in zip(pairs, adjusted.tolist(), strict=True)
    )
    caption = (
        "Two-sided p-values of a randomisation test over the same pictures, made larger for asking "
        f"{adjusted.numel()} questions at once (Holm's method)."
    )
    heads = (Column("pair"), *(Column(m.title) for m in merits))
    return Table("tests", "Could the differences be chance?", caption, heads, rows)
