"""Validation metrics, after the paper's Table 2: each with a CI, and paired differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor

from unlogit import metrics
from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._evidence import Images
from unlogit.analyses._fidelity import LOGITS, PIXELS, MetricInfo, fidelity, over, verdict
from unlogit.analyses._paired import FAMILY, format_p, pair_tests
from unlogit.analyses._probe import FOLDS, probe_layout, probed_names
from unlogit.drawing import INK, colour, panels, style
from unlogit.errors import UnlogitError
from unlogit.methods.nearest import NearestNeighbour
from unlogit.metrics import inception
from unlogit.metrics.distribution import fid_interval, kid, precision_recall
from unlogit.metrics.pixel import diversity, layout, layout_top
from unlogit.outside import figure_text
from unlogit.settings import Several
from unlogit.statistics import Difference, Estimate, correct_family

TITLE = "Quality"
QUESTION = "How near is each reconstruction to its original, for the classifier and for other measures?"

AMONG = 48
"""Number of originals among which the own one is identified by its layout."""
GROUPS = 10
"""Number of groups of images left out in turn for FID's interval."""
NEIGHBOURS = 3
"""Number of neighbours that sets the radius for precision and recall, as in their paper."""
REAL = "real images"
FEW = 10
"""Images per feature dimension below which the bias of FID exceeds the differences of inverters."""


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Further metrics, and numbers of images and noises."""

    metrics: tuple[str, ...] = ("psnr", "st_lpips_alex", "lpips_alex", "lpips_vgg", "lpips_squeeze", "dists")
    """Further distances to the original, by name. Metrics whose weights are not on this machine are skipped; the report
    names them."""
    num_metric_images: Several = 128
    """Number of images for these metrics."""
    draws: Several = 4
    """Number of noise vectors per image, for the diversity and for the best reconstruction among them."""
    num_draw_images: Several = 256
    """Number of images that are reconstructed with several noise vectors."""
    lenient: tuple[str, ...] = ("pixel_error", "ssim")
    """Metrics that are also measured on mirrored reconstructions and on the best reconstruction among the noise
    vectors."""
    kid_subsets: Several = 100
    """Number of subsets over which KID is averaged."""
    kid_subset_size: Several = 1_000
    """Number of images per subset of KID, at most a quarter of the images."""
    inception: bool = True
    """Also measure FID, KID, precision and recall in Inception features, if its weights are on this machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := set(self.metrics + self.lenient) & {m.name for m in LOGITS}:
            raise UnlogitError(f"metrics {', '.join(unknown)}: always measured, on all images; leave them out")


TOP = MetricInfo(
    "layout_top5",
    "layout top 5",
    "higher",
    f"how often the own original is among the 5 of {AMONG} whose coarse colours are nearest; by chance {5 / AMONG:.2f}",
    proportion=True,
    unit="share",
    chance=5 / AMONG,
)
DIVERSITY = MetricInfo(
    "diversity",
    "diversity",
    None,
    "root mean squared pixel distance between reconstructions of one image from different noise: what the generator "
    "adds by itself",
)
PROBE = MetricInfo(
    "layout_cosine_probe",
    "layout cosine, linear probe",
    None,
    "the layout cosine that ridge regression reads from the same representation, without an inverter: the baseline of "
    "the layout cosine",
)
METRICS = (*LOGITS, *PIXELS, PROBE, TOP, DIVERSITY)
SETS = (
    MetricInfo(
        "fid",
        "FID",
        "lower",
        "Fréchet distance between the features of real images and of reconstructions of others, which measures realism "
        "and not fidelity; biased upwards at few images, so compare only values of this table",
    ),
    MetricInfo("kid", "KID", "lower", "the same question by a kernel distance, which few images do not bias"),
    MetricInfo(
        "precision",
        "precision",
        "higher",
        f"how many reconstructions lie among originals, nearer to one than its {NEIGHBOURS}rd neighbour: look real",
        unit="share",
    ),
    MetricInfo(
        "recall",
        "recall",
        "higher",
        "how many originals lie among reconstructions in the same sense",
        unit="share",
    ),
)


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield tables with their numbers, the same as a figure, and paired differences between inverters."""
    values = {name: per_image(config, evidence, name) for name in evidence.inverters}
    if len(evidence) >= 4 * FOLDS:
        for first, sharing in probed_names(evidence).items():
            probed = probe_layout(evidence, first)[1]
            for name in sharing:
                values[name][PROBE.name] = probed
    estimates = {
        n: {m.name: m.estimate(v[m.name], evidence.seed) for m in METRICS if m.name in v} for n, v in values.items()
    }
    caption = (
        f"{len(evidence):,} images of {evidence.source.spec}; under each value its 95 % interval over "
        "images (Wilson's for shares, else bootstrap). Each reconstruction is re-encoded by its own inverter's "
        "classifier, and its logits are compared with that classifier's logits of the original."
    )
    yield _table("quality", "Metrics", caption, METRICS, estimates)
    shown = list(METRICS)
    real: dict[str, Estimate] = {}
    for table, measures, added in (*_perceptual(config, evidence, values), *_lenient(config, evidence, values)):
        yield table
        shown += measures
        estimates = {name: estimates[name] | added[name] for name in estimates}
    compared = tuple(m for m in shown if m.better)
    for table, measures, added in _sets(config, evidence):
        yield table
        shown += measures
        estimates = {name: estimates[name] | added[name] for name in estimates}
        real |= added[REAL]
    with style():
        drawn = _draw(shown, estimates, real)
    text = "Dots are the values of the tables, lines their 95 % CIs; an arrow says which way is better."
    if real:
        text += " Dashed: real images against other real images."
    yield Figure("quality", "Metrics at a glance", text, drawn)
    for name, each in estimates.items():
        for m in shown:
            if m.name in each:
                yield Record(m.name, name, each[m.name], m.unit, m.better)
    if len(values) > 1:
        yield from _differences(evidence, compared, values)


def per_image(config: Config, evidence: Evidence, name: str) -> dict[str, Tensor]:
    """Return by metric one value per image, N; diversity is of some images, and absent without noise.

    Images are in a random order, the same for every inverter: `layout_top` takes them in groups, and a source may
    be sorted by class.
    """
    order = evidence.sample(len(evidence), evidence.seed)
    reconstructed = evidence.reconstructed(name)
    values = {key: value[order] for key, value in fidelity(evidence, name).items()}
    if len(order) >= AMONG:
        centre = torch.cat([layout(images) for images in evidence.originals.chunks()]).mean(0)
        whole = order[: len(order) // AMONG * AMONG]
        pairs = [(evidence.originals[group], reconstructed.images[group]) for group in whole.split(AMONG)]
        values["layout_top5"] = torch.cat([layout_top(a, b, centre, 5, AMONG) for a, b in pairs])
    draws = evidence.draws(name, order[: config.num_draw_images], config.draws)
    if draws is not None:
        values["diversity"] = diversity(draws)
    return values


Found = tuple[Table, list[MetricInfo], dict[str, dict[str, Estimate]]]


def _perceptual(config: Config, evidence: Evidence, values: dict[str, dict[str, Tensor]]) -> Iterator[Found]:
    """Yield the named metrics that are available; add their values per image to `values`."""
    available, missing = [], []
    for name in config.metrics:
        try:
            available.append(metrics.get(name))
        except metrics.Unavailable as error:
            missing.append(str(error))
    which = evidence.sample(config.num_metric_images, evidence.seed)
    originals = Images(evidence.originals.bytes[which])
    results: dict[str, dict[str, Estimate]] = {}
    measures = [MetricInfo(m.name, m.title, m.better, m.explanation) for m in available]
    for name in evidence.inverters:
        by_chunk = over(originals, Images(evidence.reconstructed(name).images.bytes[which]))
        values[name] |= {m.name: by_chunk(metric) for m, metric in zip(measures, available, strict=True)}
        results[name] = {m.name: m.estimate(values[name][m.name], evidence.seed) for m in measures}
    caption = f"{len(which):,} of the same images, drawn at random, with 95 % bootstrap CIs."
    if missing:
        caption += f" Left out: {'; '.join(missing)}."
    if available:
        yield _table("perceptual", "Perceptual metrics", caption, measures, results), measures, results


def _lenient(config: Config, evidence: Evidence, values: dict[str, dict[str, Tensor]]) -> Iterator[Found]:
    """Yield what is nearer where the mirror image counts as well, and where the best of several noises does."""
    which = evidence.sample(config.num_draw_images, evidence.seed)
    originals = evidence.originals[which]
    measures: list[MetricInfo] = []
    results: dict[str, dict[str, Estimate]] = {name: {} for name in evidence.inverters}
    for chosen in config.lenient:
        metric = metrics.get(chosen)
        flip = metric.flip_aware()
        best = MetricInfo(
            f"{chosen}_best",
            f"{metric.title} (best of {config.draws})",
            metric.better,
            f"of {config.draws} reconstructions from different noise the nearest",
        )
        measures += [MetricInfo(flip.name, flip.title, flip.better, flip.explanation), best]
        for name in evidence.inverters:
            values[name][flip.name] = flip(originals, evidence.reconstructed(name).images[which])
            draws = evidence.draws(name, which, config.draws)
            if draws is not None:
                each = torch.stack([metric(originals, draw) for draw in draws])
                values[name][best.name] = each.amax(0) if metric.better == "higher" else each.amin(0)
            for m in measures[-2:]:
                if m.name in values[name]:
                    results[name][m.name] = m.estimate(values[name][m.name], evidence.seed)
    caption = (
        f"The nearer of a reconstruction and its mirror image, and the nearest of {config.draws} noises, for "
        f"{len(which):,} images: an inverter has to guess what the representation leaves open."
    )
    if measures:
        yield _table("lenient", "Allowing for mirroring and noise", caption, measures, results), measures, results


Feature = Callable[[Tensor], Tensor]


def _sets(config: Config, evidence: Evidence) -> Iterator[Found]:
    """Yield distances between sets of real images and of reconstructions, in each feature network that is at hand."""
    if len(evidence) < 4 * GROUPS:
        return
    network = evidence.features
    if network is not None:

        def penultimate(images: Tensor) -> Tensor:
            return network.features(images.to(network.mean.device), ["penultimate"])["penultimate"].flatten(1)

        missing = ""
        if config.inception:
            try:
                inception.find_weights()
            except metrics.Unavailable as error:
                missing = f" Left out: {error}."
        yield _in_features(config, evidence, penultimate, f"the penultimate layer of {network.spec}", "", missing)
    if config.inception:
        try:
            feature = inception.features()
        except metrics.Unavailable:
            return
        yield _in_features(config, evidence, feature, "Inception (as published FIDs)", "inception_", "")


@torch.no_grad()
def _in_features(config: Config, evidence: Evidence, feature: Feature, where: str, prefix: str, missing: str) -> Found:
    """Return the table of `SETS` in a network's features.

    Real images of one half are compared with reconstructions of the other half, and with the real images of the other
    half. Both distances are of as many images and of different ones, so that the second is what no inverter can beat.
    """
    order = evidence.sample(len(evidence), evidence.seed)
    half = len(order) // 2
    one, other = order[:half], order[half : 2 * half]
    size = min(config.kid_subset_size, half // 2)

    def features(images: Images, which: Tensor) -> Tensor:
        return torch.cat([feature(x).float().cpu() for x in Images(images.bytes[which]).chunks()])

    real = features(evidence.originals, one)

    def measure(images: Images) -> dict[str, Estimate]:
        generated = features(images, other)
        generator = torch.Generator().manual_seed(evidence.seed)
        distance = kid(real, generated, subsets=config.kid_subsets, subset_size=size, generator=generator)
        shares = precision_recall(real, generated, NEIGHBOURS)
        return {
            f"{prefix}fid": fid_interval(real, generated, GROUPS),
            f"{prefix}kid": distance.estimate(half),
            f"{prefix}precision": shares.precision,
            f"{prefix}recall": shares.recall,
        }

    title = " (Inception)" if prefix else ""
    measures = [m.named(f"{prefix}{m.name}", f"{m.title}{title}") for m in SETS]
    results = {REAL: measure(evidence.originals)}
    results |= {name: measure(evidence.reconstructed(name).images) for name in evidence.inverters}
    dimensions = real.shape[1]
    caption = (
        f"Real images of one half ({half:,}) against reconstructions of the other half, in {where}. '{REAL}' is real "
        "against real, two disjoint halves: the value of a perfect inverter at this n. FID's CI is a jackknife's, "
        f"KID's the range of {config.kid_subsets} random subsets of {size}, those of precision and recall Wilson's."
    )
    if half < FEW * dimensions:
        caption += (
            f" n = {half:,} is of the order of the {dimensions:,} feature dimensions: FID is mostly its own bias here; "
            "read KID."
        )
    if any(isinstance(inverter, NearestNeighbour) for inverter in evidence.inverters.values()):
        caption += (
            " Nearest neighbours are real images but not a random sample, so that their values are not a reference."
        )
    return _table(f"{prefix}sets", f"As a set{title}", caption + missing, measures, results), measures, results


def _table(
    name: str,
    title: str,
    caption: str,
    measures: tuple[MetricInfo, ...] | list[MetricInfo],
    estimates: dict[str, dict[str, Estimate]],
) -> Table:
    rows = tuple((inverter, *(results.get(m.name) for m in measures)) for inverter, results in estimates.items())
    return Table(name, title, caption, (Column("inverter"), *(m.column for m in measures)), rows)


def _draw(measures: list[MetricInfo], estimates: dict[str, dict[str, Estimate]], real: dict[str, Estimate]) -> Drawing:
    shown = [m for m in measures if any(m.name in results for results in estimates.values())]
    across = 4
    down = -(-len(shown) // across)
    names = list(estimates)
    figure, axes = panels(down, across, 0.75 + 0.2 * len(names))
    for axis, m in zip(axes, shown, strict=False):
        for index, name in enumerate(names):
            e = estimates[name].get(m.name)
            if e is not None:
                axis.plot([e.low, e.high], [index, index], color=colour(index), linewidth=2.2, solid_capstyle="round")
                axis.plot(e.value, index, "o", color=colour(index), markersize=5)
        if m.name in real:
            axis.axvline(real[m.name].value, color=INK, linewidth=1, linestyle="--")
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


def _differences(
    evidence: Evidence, measures: tuple[MetricInfo, ...], values: dict[str, dict[str, Tensor]]
) -> Iterator[Result]:
    """Yield the first inverter less each other one over the same images, and the tests of every pair."""
    first, *others = values
    tests = correct_family(pair_tests(measures, values, evidence.seed))
    measures = tuple(m for m in measures if m.name in {name for *_, name in tests})

    def cells(a: str, b: str, cell: Callable[[Difference], Cell]) -> Iterator[Cell]:
        # A measure that one of the two lacks, as the best of several noises without noise, has no cell.
        return (cell(tests[a, b, m.name]) if (a, b, m.name) in tests else None for m in measures)

    rows: list[tuple[Cell, ...]] = [(b, *cells(first, b, lambda d: d.estimate)) for b in others]
    columns = tuple(Column(m.title) for m in measures)
    caption = (
        f"{first} less each other inverter, paired over the same images, with 95 % bootstrap CIs. Which differences "
        "are significant is in the table of tests. Scores of logits are by each inverter's own classifier."
    )
    yield Table("differences", f"Differences to {first}", caption, (Column(f"{first} less"), *columns), tuple(rows))
    pairs: list[tuple[Cell, ...]] = [
        (f"{a} − {b}", *cells(a, b, lambda d: format_p(d.p))) for a, b in combinations(values, 2)
    ]
    caption = f"Randomisation tests over the same images. {FAMILY}."
    yield Table("tests", "Which differences are significant", caption, (Column("pair"), *columns), tuple(pairs))
    own = {name: of for of, sharing in evidence.classifiers().items() for name in sharing}
    for b in others:
        results = {m.name: tests[first, b, m.name] for m in measures if (first, b, m.name) in tests}
        named = [m for m in measures if m.name in results]
        # A score of two classifiers' logits may differ because the classifiers do.
        common = [m for m in named if m not in LOGITS or own[first] == own[b]]
        text = f"Against {b}, {first} is {verdict(common, results)} (paired tests, Holm-corrected)."
        if apart := [m for m in named if m not in common]:
            text += " By the logits of each one's own classifier, which is no common measure, it is "
            text += f"{verdict(apart, results)}."
        yield Finding(text)
