"""Recognition of the reconstructions by networks that had no part in training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from matplotlib.figure import Figure as Drawing
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._evidence import Images
from unlogit.analyses._fidelity import MetricInfo
from unlogit.analyses._paired import pair_tests, report_pairs
from unlogit.classifiers import Classifier
from unlogit.drawing import INK, colour, panels, style
from unlogit.errors import UnlogitError
from unlogit.methods import LearnedInverter
from unlogit.metrics.recognition import encode, networks, part_in_training, recognition, references
from unlogit.outside import figure_text
from unlogit.settings import Several
from unlogit.statistics import Estimate

TITLE = "Recognition"
QUESTION = "Do classifiers that had no part in training recognise the reconstructions?"


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Evaluating classifiers and number of images."""

    networks: tuple[str, ...] = ("auto",)
    """Classifiers that evaluate the reconstructions, as source:name, with any classes. "auto" is EfficientNet-Lite1 and
    Lite2 at 160 px if they are installed, and none for scenes, which are not ImageNet classes."""
    images: Several = 512
    """Number of held-out images."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.networks:
            raise UnlogitError(
                "networks: none given, must be at least one classifier, e.g. packaged:efficientnet_lite2"
            )


METRICS = (
    MetricInfo(
        "cosine",
        "cosine",
        "higher",
        "cosine between the network's logits of original and reconstruction, each logit standardised over the "
        "originals: 1 for the same image, about 0 for an unrelated one",
    ),
    MetricInfo(
        "same_class",
        "same class",
        "higher",
        "how often the network predicts for the reconstruction the class that it predicts for the original",
        proportion=True,
        unit="share",
    ),
    MetricInfo(
        "class_in_5",
        "class in top 5",
        "higher",
        "how often the original's predicted class is among the five likeliest of the reconstruction",
        proportion=True,
        unit="share",
    ),
)
PART = Column("part in training", None, "whether the network, or one that it was trained from, took part in training")


@dataclass
class Seen:
    """Metrics of the images by one network.

    Attributes:
        values: one value per image, by row of the table and name of the metric.
        part: classifier of the inverter's training that this network is, if any, by inverter.
    """

    spec: str
    values: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    part: dict[str, str | None] = field(default_factory=dict)

    def estimates(self, row: str, seed: int) -> list[Estimate]:
        return [m.estimate(self.values[row][m.name], seed) for m in METRICS]

    def independent(self) -> list[str]:
        """Return the inverters in whose training the network had no known part."""
        return [name for name, part in self.part.items() if part is None]


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield a table per network, the cosines as a figure, and inverters compared; nothing without a network."""
    seen = [_look(classifier, config, evidence) for classifier in networks(config.networks, evidence.source).values()]
    if not seen:
        return
    for index, one in enumerate(seen):
        yield _table(f"network-{index}", one, evidence)
    with style():
        drawn = _draw(seen, evidence)
    caption = (
        "Dots are the cosines of the tables, lines their 95 % intervals; a dot is hollow where the network took part "
        "in training."
    )
    yield Figure("cosines", "How much is recognised", caption, drawn)
    for one in seen:
        for name in one.independent():
            for m, estimate in zip(METRICS, one.estimates(name, evidence.seed), strict=True):
                yield Record(f"{m.name} by {one.spec}", name, estimate, m.unit, m.better)
        if one.independent():
            yield _finding(one, evidence.seed)
    for index, one in enumerate(seen):
        yield from _compare(f"pairs-{index}", one, evidence.seed)


def _look(classifier: Classifier, config: Config, evidence: Evidence) -> Seen:
    which = evidence.sample(config.images, evidence.seed)
    device = next(iter(evidence.inverters.values())).representation.classifier.mean.device
    classifier.to(device)
    originals = Images(evidence.originals.bytes[which])
    logits = encode(classifier, originals.chunks())
    seen = Seen(classifier.spec)
    for name, change in references(evidence.seed).items():
        seen.values[name] = recognition(logits, encode(classifier, map(change, originals.chunks())))
    for name, inverter in evidence.inverters.items():
        reconstructions = Images(evidence.reconstructed(name).images.bytes[which])
        seen.values[name] = recognition(logits, encode(classifier, reconstructions.chunks()))
        seen.part[name] = part_in_training(classifier, inverter.took_part())
    return seen


def _table(name: str, seen: Seen, evidence: Evidence) -> Table:
    rows: list[tuple[Cell, ...]] = []
    unknown = False
    for row in seen.values:
        part: str | None = None
        if row in evidence.inverters:
            inverter = evidence.inverters[row]
            recorded = not isinstance(inverter, LearnedInverter) or "took_part" in inverter.facts
            part = f"yes: {seen.part[row]}" if seen.part[row] else "no" if recorded else "not known"
            unknown |= part == "not known"
        rows.append((row, *seen.estimates(row, evidence.seed), part))
    n = len(next(iter(seen.values.values()))["cosine"])
    caption = (
        f"{n:,} held-out images of {evidence.source.spec}, with 95 % intervals: Wilson's for shares, else bootstrap. "
        "First the originals themselves, mirrored, with Gaussian noise of that standard deviation, and as thumbnails "
        "that are reduced and enlarged again (bicubic, antialiased). The metrics of a network that took part in "
        "training are not independent of it."
    )
    if unknown:
        caption += " Inverters of earlier versions do not record the networks of their discriminator or comparator."
    columns = (Column("images"), *(m.column for m in METRICS), PART)
    return Table(name, f"Recognised by {seen.spec}", caption, columns, tuple(rows))


def _draw(seen: list[Seen], evidence: Evidence) -> Drawing:
    rows = list(seen[0].values)
    figure, axes = panels(1, len(seen), 0.7 + 0.2 * len(rows))
    for axis, one in zip(axes, seen, strict=True):
        for index, row in enumerate(rows):
            e = METRICS[0].estimate(one.values[row]["cosine"], evidence.seed)
            ink = colour(list(evidence.inverters).index(row)) if row in evidence.inverters else INK
            fill = "none" if one.part.get(row) else ink
            axis.plot([e.low, e.high], [index, index], color=ink, linewidth=2.2, solid_capstyle="round")
            axis.plot(e.value, index, "o", color=ink, markerfacecolor=fill, markersize=5)
        axis.set_title(figure_text(f"cosine by {one.spec} ↑"))
        axis.set(ylim=(len(rows) - 0.5, -0.5))
        axis.set_yticks(range(len(rows)), [figure_text(row) if axis is axes[0] else "" for row in rows])
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", labelcolor=INK)
        axis.spines["left"].set_visible(False)
    return figure


def _finding(seen: Seen, seed: int) -> Finding:
    """Return a sentence that compares the reconstructions with thumbnails of the originals."""
    text = []
    for name in seen.independent():
        cosine, _, five = seen.estimates(name, seed)
        text.append(
            f"reconstructions by {name} have a logit cosine of {cosine.value:.2f} (95 % CI {cosine.low:.2f} to "
            f"{cosine.high:.2f}, n = {cosine.n:,}) and keep the class among the five likeliest in "
            f"{100 * five.value:.0f} %"
        )
    thumbnails = ", ".join(
        f"{float(values['cosine'].mean()):.2f} at {row.removeprefix('thumbnail ')}"
        for row, values in seen.values.items()
        if row.startswith("thumbnail")
    )
    return Finding(f"By {seen.spec}, {'; '.join(text)}. Thumbnails of the originals have a cosine of {thumbnails}.")


def _compare(name: str, seen: Seen, seed: int) -> Iterator[Result]:
    """Yield the inverters that the network had no part in, compared on the same images."""
    metrics = [m.named(f"{m.name} by {seen.spec}", m.title) for m in METRICS]
    values = {
        inverter: {metric.name: seen.values[inverter][m.name] for metric, m in zip(metrics, METRICS, strict=True)}
        for inverter in seen.independent()
    }
    what = (
        "The first inverter less the second, on the same images. Inverters that the network took part in training are "
        "left out."
    )
    yield from report_pairs(metrics, pair_tests(metrics, values, seed), what, name, f" by {seen.spec}")
