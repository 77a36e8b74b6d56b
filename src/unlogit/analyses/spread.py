"""Section 5.5 of the paper: distances of representations within and between classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._fidelity import MetricInfo
from unlogit.analyses._paired import report_pairs
from unlogit.drawing import colour, panels, style
from unlogit.outside import figure_text
from unlogit.settings import Several
from unlogit.statistics import jackknife_test

TITLE = "Spread of the logits"
QUESTION = "How far do images of one class lie apart in a classifier's logits, and against the distance of classes?"


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Classes by which images are grouped."""

    classes: Several | None = None
    """Number of classes, drawn at random from those with at least two images. The paper uses 10. Default: all
    classes."""


@dataclass(frozen=True)
class Spread:
    """Distances of images, one value each, N, and what is left of their means without each class.

    Attributes:
        within: to the mean of the others of its class.
        between: to the means of the other classes, on average.
        left_out: mean of "within", "between" and "ratio" without each class, C; NaN for fewer than three classes.
    """

    within: Tensor
    between: Tensor
    left_out: dict[str, Tensor]

    @property
    def ratio(self) -> Tensor:
        """Within-class over between-class distance, N: 0 where a class is one point, 1 where classes coincide."""
        return self.within / self.between.clamp(min=1e-12)


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield distances within and between classes; nothing where there are no three classes of two images each."""
    names = evidence.representations()
    if not names:
        return
    labelled = bool((evidence.labels >= 0).all())
    spreads: dict[str, Spread] = {}
    for name in names:
        classes = evidence.labels if labelled else evidence.encoded(name).logits.argmax(1)
        chosen = _classes(config, evidence, classes)
        if len(chosen) < 3:
            return
        member = torch.isin(classes, chosen)
        spreads[name] = spread(evidence.raw(name)[member], classes[member])
    counts = {name: len(each.within) for name, each in spreads.items()}
    caption = (
        f"{' and '.join(f'{c:,}' for c in sorted(set(counts.values())))} images, by their "
        f"{'labels' if labelled else 'predicted classes'}, with 95 % jackknife CIs over classes, since images of "
        "one class share its mean; the mean of an image's own class is taken without it. Distances in the "
        "representation itself, which the paper gives, depend on its "
        "dimensions and scale; their ratio does not."
    )
    with style():
        yield Figure("spread", "Distances to the own class and to others", caption, _draw(evidence, spreads))
    columns = (
        Column("inverter's classifier"),
        Column("within a class", None, "Euclidean distance to the mean of the own class"),
        Column("to other classes", None, "Euclidean distance to the mean of each other class, averaged"),
        Column(
            "ratio",
            None,
            "of the two, image by image: 0 where a class is a point, 1 where classes coincide",
        ),
    )
    estimates = {
        name: tuple(
            jackknife_test(float(values.mean()), s.left_out[key], len(values)).estimate
            for key, values in (("within", s.within), ("between", s.between), ("ratio", s.ratio))
        )
        for name, s in spreads.items()
    }
    rows: list[tuple[Cell, ...]] = [(name, *each) for name, each in estimates.items()]
    yield Table("spread", "Spread", caption, columns, tuple(rows))
    for name, each in estimates.items():
        for key, estimate in zip(("within", "between", "ratio"), each, strict=True):
            yield Record(f"spread_{key}", name, estimate, "", None)
    parts = ", ".join(
        f"{e.value:.3f} (95 % CI {e.low:.3f} to {e.high:.3f}) for {name}" for name, (*_, e) in estimates.items()
    )
    yield Finding(f"Within-class distance divided by between-class distance is {parts}.")
    ratio = MetricInfo(
        "spread_ratio", "within over between classes", "lower", "lower where classes are grouped more tightly"
    )
    # Without labels the classes are each classifier's own predictions, and there are no pairs of them.
    if labelled:
        tests = {
            (a, b, ratio.name): jackknife_test(
                float((spreads[a].ratio - spreads[b].ratio).mean()),
                spreads[a].left_out["ratio"] - spreads[b].left_out["ratio"],
                counts[a],
            )
            for a, b in combinations(names, 2)
        }
        what = (
            f"The first classifier's logits less the second's, for the same {counts[names[0]]:,} images, over classes."
        )
        yield from report_pairs([ratio], tests, what)


def _classes(config: Config, evidence: Evidence, classes: Tensor) -> Tensor:
    every, counts = classes.unique(return_counts=True)
    every = every[counts >= 2]
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(evidence.seed))
    return every[order[: config.classes]]


def spread(raw: Tensor, classes: Tensor) -> Spread:
    """Return the spread of representations N x K by class, int64, N: two classes or more, of two images or more."""
    raw = raw.double()
    _, member, counts = classes.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), raw.shape[1], dtype=raw.dtype).index_add_(0, member, raw)
    own = (sums[member] - raw) / (counts[member] - 1).unsqueeze(1)
    distances = torch.cdist(raw, sums / counts.unsqueeze(1))
    distances.scatter_(1, member.unsqueeze(1), 0)
    within, others = (raw - own).norm(dim=1), distances.sum(1, keepdim=True)
    # Without class c, images of c are left out, and so is its mean for all others.
    left = (others - distances) / (len(counts) - 2)
    kept = torch.ones_like(distances).scatter_(1, member.unsqueeze(1), 0)
    of_left = {"within": within.unsqueeze(1), "between": left, "ratio": within.unsqueeze(1) / left.clamp(min=1e-12)}
    left_out = {key: (values * kept).sum(0) / kept.sum(0) for key, values in of_left.items()}
    return Spread(within, others[:, 0] / (len(counts) - 1), left_out)


def _draw(evidence: Evidence, spreads: dict[str, Spread]) -> Drawing:
    figure, axes = panels(1, len(spreads), 2.1, sharey=True)
    for panel, (name, each) in zip(axes, spreads.items(), strict=True):
        ink = colour(list(evidence.inverters).index(name))
        edges = torch.linspace(0, float(torch.cat([each.within, each.between]).max()) * 1.02, 41).tolist()
        panel.hist(each.between.tolist(), edges, color="#8a909c", alpha=0.5, label="to other classes, averaged")
        panel.hist(each.within.tolist(), edges, color=ink, alpha=0.75, label="to the own class")
        panel.set_title(figure_text(name))
        panel.set_xlabel("distance")
        panel.grid(axis="x", visible=False)
        panel.legend(fontsize=7)
    axes[0].set_ylabel("images")
    return figure
