"""Invariance spectrum: the share of each known factor of a scene that the classifier keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._evidence import CHUNK, Images
from unlogit.analyses._factors import Readers, Reading, Target, class_share, of_source
from unlogit.analyses._fidelity import MetricInfo, listed
from unlogit.analyses._matching import matched
from unlogit.analyses._paired import report_pairs
from unlogit.drawing import INK, colour, panels, style
from unlogit.images import Loader, to_bytes
from unlogit.images.scenes import FACTORS, SceneImages
from unlogit.outside import figure_text
from unlogit.settings import Bounds, Count, Share
from unlogit.statistics import Estimate

TITLE = "Invariance spectrum"
QUESTION = "How much of each factor of a scene is kept in the representation, and in its reconstruction?"

IMAGE, LINEAR, MLP = "image", "linear", "MLP"
MARKS = {IMAGE: "|", LINEAR: "o", MLP: "s"}
LEAST = 40
"""Minimum number of images in which a factor is visible."""
Readings = dict[str, dict[str, Reading]]
"""Readings by reader and factor."""


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Training of the readers."""

    training: Annotated[int, Bounds(200, 10**9)] = 6_000
    """Number of scenes, from the other split, on which the networks that read the factors are trained."""
    epochs: Count = 5
    """Number of training epochs of these networks; more epochs raise their accuracy on the originals."""
    clear: Share = 0.05
    """Threshold, 0 to 1: a factor counts as kept if the 95 % CI of its share lies above it, and as lost if it lies
    below."""


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield a plot with one panel per classifier, tables, and which factors are kept; nothing for other images."""
    source = evidence.source
    if not isinstance(source, SceneImages):
        return
    truth = of_source(source, evidence.indices)
    truth = {name: target for name, target in truth.items() if int(target.shows.sum()) >= LEAST}
    if not truth:
        return
    training, images = _training(config, evidence, source)
    readers = Readers(
        of_source(training, images[1]), training.labels[images[1]], seed=evidence.seed, epochs=config.epochs
    )
    offsets = readers.of_class(evidence.labels)
    read = _read(evidence, readers, images[0], truth, offsets)
    shares = {reader: {f: r.explained(evidence.seed) for f, r in each.items()} for reader, each in read.items()}
    groups = _groups(evidence)
    with style():
        yield Figure("spectrum", "The invariance spectrum", _caption(), _draw(evidence, groups, truth, shares))
    yield _table(evidence, truth, offsets, shares)
    accuracies = _accuracies(evidence, truth, read)
    if accuracies is not None:
        yield accuracies
    for name in evidence.inverters:
        for factor, share in shares[name].items():
            yield Record(f"factor_{factor}", name, share, "share", None)
    for name in evidence.representations():
        for kind in (LINEAR, MLP):
            for factor, share in shares[f"{kind}, {name}"].items():
                yield Record(f"factor_{factor}_{kind.lower()}", name, share, "share", None)
    for name in evidence.representations():
        yield _finding(config, name, shares)
    yield from _compare(evidence, list(truth), read)


def _training(config: Config, evidence: Evidence, source: SceneImages) -> tuple[SceneImages, tuple[Images, Tensor]]:
    """Return scenes of the other split than the evidence's, with their images and indices."""
    split = "test" if source.split == "train" else "train"
    training = SceneImages(f"scenes:{split}", split, source.size, config.training, source.seed)
    batches = list(Loader(training, evidence.view, CHUNK, seed=0).once())
    seen = Images.of([to_bytes(b.images) for b in batches])
    return training, (seen, torch.cat([b.indices for b in batches]))


@torch.no_grad()
def _read(
    evidence: Evidence, readers: Readers, training: Images, truth: dict[str, Target], offsets: dict[str, Tensor]
) -> Readings:
    """Return readings from the images, from each representation by two probes, and from each reconstruction."""

    def calibrated(predictions: dict[str, Tensor]) -> dict[str, Reading]:
        return {name: Reading.of(predictions[name], truth[name], offsets[name], evidence.seed) for name in truth}

    look, source = readers.convolutional(lambda positions: training[positions]), evidence.source
    assert isinstance(source, SceneImages)

    def seen(images: Images) -> dict[str, Tensor]:
        indices = zip(images.chunks(), evidence.labels.split(CHUNK), evidence.indices.split(CHUNK), strict=True)
        parts = [{**look(x, labels), **matched(x, source, positions)} for x, labels, positions in indices]
        return {name: torch.cat([part[name] for part in parts]) for name in truth}

    readings = {IMAGE: calibrated(seen(evidence.originals))}
    for name in evidence.representations():
        representation = evidence.inverters[name].representation
        raw = torch.cat([representation.raw(x.to(representation.shift.device)).cpu() for x in training.chunks()])
        for kind, fit in ((LINEAR, readers.linear), (MLP, readers.mlp)):
            readings[f"{kind}, {name}"] = calibrated(fit(raw)(evidence.raw(name), evidence.labels))
    for name in evidence.inverters:
        readings[name] = calibrated(seen(evidence.reconstructed(name).images))
    return readings


def _groups(evidence: Evidence) -> dict[str, list[str]]:
    """Return the readers of each classifier in the order drawn, by its first inverter that is probed."""
    groups = {}
    probed = evidence.representations()
    for sharing in evidence.classifiers().values():
        of_this = [name for name in sharing if name in probed]
        probes = [f"{kind}, {name}" for name in of_this for kind in (LINEAR, MLP)]
        groups[(of_this or sharing)[0]] = [IMAGE, *probes, *sharing]
    return groups


def _draw(
    evidence: Evidence,
    groups: dict[str, list[str]],
    truth: dict[str, Target],
    shares: dict[str, dict[str, Estimate]],
) -> Drawing:
    factors = list(truth)
    names = list(evidence.inverters)
    figure, axes = panels(1, len(groups), 1.0 + 0.31 * len(factors), sharey=True)
    for axis, (first, readers) in zip(axes, groups.items(), strict=True):
        for index, reader in enumerate(readers):
            ink = colour(names.index(reader)) if reader in names else INK
            kind = reader.split(",")[0] if reader not in names else ""
            for row, factor in enumerate(factors):
                e = shares[reader][factor]
                y = row + (index - (len(readers) - 1) / 2) * 0.72 / len(readers)
                low, high, value = max(e.low, -0.1), e.high, max(e.value, -0.1)
                axis.plot([low, high], [y, y], color=ink, linewidth=1.6, solid_capstyle="round")
                label = "" if row else {LINEAR: "logits, linear", MLP: "logits, MLP"}.get(kind, figure_text(reader))
                axis.plot(value, y, MARKS.get(kind, "D"), color=ink, markersize=7 if kind == IMAGE else 4, label=label)
            for row in range(len(factors) - 1):
                axis.axhline(row + 0.5, color=INK, alpha=0.1, linewidth=0.5)
        axis.axvline(0, color=INK, linewidth=0.8)
        axis.set(xlim=(-0.1, 1.02), ylim=(len(factors) - 0.5, -0.5))
        title = f"classifier of {first}" if len(groups) > 1 else first
        axis.set_title(figure_text(title), color=colour(names.index(first)))
        axis.set_yticks(range(len(factors)), [factor.replace("_", " ") for factor in factors])
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("share kept beyond the class")
    labelled = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(labelled.values(), labelled, loc="outside upper left", ncols=min(len(labelled), 6))
    return figure


def _caption() -> str:
    return (
        "0: no more than the class alone implies, by its typical values; 1: all variation within a class. Upright "
        "bars: read from the image itself, by a network that was fitted on real scenes, which is a lower bound of "
        "what an image shows. Circles and squares: read from the representation. Diamonds: read from the "
        "reconstruction by the same reader of images. Rotation and mirroring are read by rendering: the scene is "
        "drawn in every pose, and the drawing most similar to the image up to a linear change of colours is taken. "
        "Lines are 95 % CIs; values below -0.1 are drawn at -0.1."
    )


def _table(
    evidence: Evidence, truth: dict[str, Target], offsets: dict[str, Tensor], shares: dict[str, dict[str, Estimate]]
) -> Table:
    columns = (
        Column("factor"),
        Column("class alone", None, "share of the factor's whole variance that its class's mean explains"),
        *(Column(reader, "higher") for reader in shares),
    )
    rows: list[tuple[Cell, ...]] = []
    for factor, target in truth.items():
        alone = class_share(target, offsets[factor], evidence.seed)
        rows.append((factor.replace("_", " "), alone, *(each[factor] for each in shares.values())))
    caption = (
        "Beyond the class alone: the share of a factor's variance within classes that is read, 1 less the squared "
        "error over the variance. Angles and hues count as points on a circle, yes and no as 1 and -1, kinds as "
        "one-hot vectors. Rotation counts on shapes that only a full turn brings back, mirroring on shapes that have "
        "a handedness, what belongs to a distractor where there is one. Each reading is brought to the true scale by "
        "a slope and an offset, fitted on the other half of the images. With bootstrap intervals over images."
    )
    return Table("factors", "How much of each factor", caption, columns, tuple(rows))


def _accuracies(evidence: Evidence, truth: dict[str, Target], read: Readings) -> Table | None:
    """Return the table of accuracies of binary and categorical factors."""
    factors = [name for name, target in truth.items() if target.classes is not None]
    if not factors:
        return None
    rows: list[tuple[Cell, ...]] = []
    for factor in factors:
        answers = max(2, len(FACTORS[factor].names))
        accuracies = [each[factor].accuracy(evidence.seed) for each in read.values()]
        rows.append((factor.replace("_", " "), round(1 / answers, 2), *accuracies))
    columns = (Column("factor"), Column("by chance"), *(Column(reader) for reader in read))
    caption = "Balanced over the answers: the mean of how often each is recognised, with bootstrap intervals."
    return Table("answers", "How often the right answer", caption, columns, tuple(rows))


def _finding(config: Config, name: str, shares: dict[str, dict[str, Estimate]]) -> Finding:
    """Return a sentence on the factors that the representation keeps beyond the class, by the better probe."""
    probes = [shares[f"{kind}, {name}"] for kind in (LINEAR, MLP)]
    best = {factor: max((each[factor] for each in probes), key=lambda e: e.low) for factor in shares[IMAGE]}
    preserved = sorted((f for f in best if best[f].low > config.clear), key=lambda f: -best[f].value)
    shown = [f for f in best if shares[IMAGE][f].low > config.clear and f not in preserved]
    # That a factor is not shown to be kept does not make it lost.
    lost = [f for f in shown if all(each[f].high < config.clear for each in probes)]
    undecided = [f for f in shown if f not in lost]
    painted = [f for f in preserved if shares[name][f].low > config.clear]
    text = [f"{name}: beyond the class, its representation keeps "]
    text.append(listed([f"{f.replace('_', ' ')} ({best[f].value:.2f})" for f in preserved]) or "none of the factors")
    if preserved:
        text.append(f"; of these the reconstruction shows {listed([f.replace('_', ' ') for f in painted]) or 'none'}")
    for word, factors in (("lost", lost), ("inconclusive", undecided)):
        if factors:
            text.append(f"; {word}, though the image shows it: {listed([f.replace('_', ' ') for f in factors])}")
    return Finding(f"{''.join(text)}.")


def _compare(evidence: Evidence, factors: list[str], read: Readings) -> Iterator[Result]:
    """Yield classifiers compared by their probes, and inverters by their reconstructions, on the same images."""
    probed = {kind: {name: f"{kind}, {name}" for name in evidence.representations()} for kind in (LINEAR, MLP)}
    readers = {**probed, "reconstruction": {name: name for name in evidence.inverters}}
    metrics = [
        MetricInfo(f"factor_{factor}_{kind.lower()}", f"{factor.replace('_', ' ')}, {kind}", None, "", unit="share")
        for kind in readers
        for factor in factors
    ]
    tests = {
        (a, b, f"factor_{factor}_{kind.lower()}"): read[of[a]][factor].explained_more(
            read[of[b]][factor], evidence.seed
        )
        for kind, of in readers.items()
        for a, b in combinations(of, 2)
        for factor in factors
    }
    what = "The share kept beyond the class by the first inverter (or its classifier) less the second's, same images."
    yield from report_pairs(metrics, tests, what)
