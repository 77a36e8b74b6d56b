"""Measure what a linear probe reads at each depth of both twins, and from the outputs of an API.

Run (one core; the same command resumes, layer by layer):

    python recipes/depth_probes.py --data DIR

Ridge regression from each representation of a twin (`fitted:lite0_robust`, `fitted:lite0_standard`) to the image's
colours is fitted on training images and measured on validation images; no generator is involved. A spatial map is read
as a whole. Writes two tables and a figure into runs/depth_probes. probes.csv, drawn in probes.png, has R2 and cosine of
the layout, and the bits about the image that the probe proves. probes-contrasts.csv has paired differences of the twins
at each layer and of each layer and the one before it, with p (Holm) and verdict. Bits are InfoNCE bounds by two
measures, the mirror-averaged 4 x 4 layout and the 8 x 8 colours. Tables of inverters use other measures, so compare
bits within this table only. `DIR` holds Tiny ImageNet as for `tiny_imagenet_lite0.py`. Expected: the table in
RESULTS.md.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
import tyro
from recipe_results import keep, paired_rows, save_figure, write_table
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from unlogit.classifiers import Classifier, open_classifier
from unlogit.cli import guarded
from unlogit.drawing import colour, panels, style
from unlogit.images import Loader, View, open_images
from unlogit.metrics.identification import Lineups, bits, difference_over_lineups, over_lineups
from unlogit.metrics.pixel import layout
from unlogit.metrics.probe import fit_ridge
from unlogit.representation.layers import Layer
from unlogit.settings import Checked, Several
from unlogit.statistics import Difference, Estimate, bootstrap, paired_tests

LAYERS = (
    "blocks.2?reduce=flatten",
    "blocks.4?reduce=flatten",
    "penultimate",
    "logits",
    "log-softmax",
    "softmax",
    "softmax-top5",
    "label",
)
"""From early to late, then from all logits to what an API would return."""
CHUNK = 64
SEED = 0
MARGIN = 0.05
"""Difference of layout cosines that counts as none."""
Found = dict[tuple[str, str], dict[str, Any]]
"""What `probe` returned, by twin and layer."""


@dataclass(frozen=True)
class Probes(Checked):
    """Options: images, classifiers and layers."""

    data: Path
    """Folder with Tiny ImageNet as for tiny_imagenet_lite0.py: train-*.parquet and val.parquet."""
    out: Path = Path("runs/depth_probes")
    """Folder for the results: probes.csv and probes-contrasts.csv."""
    training: Several = 4_000
    """Number of training images on which probes are fitted, drawn at random."""
    held_out: Several = 2_048
    """Number of validation images on which probes are measured, drawn at random."""
    among: Several = 256
    """Number N of originals, of any class, in a line-up, which can prove at most log2 N bits."""
    among_class: Several = 8
    """Number of originals in a line-up of one true class."""
    size: int = 64
    """Side of the images in pixels."""
    kinds: tuple[str, ...] = ("robust", "standard")
    """Twins to probe: "robust", "standard" or both."""
    layers: tuple[str, ...] = LAYERS
    """Layers to probe, in order of depth."""


def main(probes: Probes) -> None:
    """Fit and measure every probe, and write the table."""
    torch.manual_seed(SEED)
    view = View(probes.size)
    images, labels = read(f"parquet:{probes.data}/val.parquet", view, probes.held_out)
    training, _ = read(f"parquet:{probes.data}/train-*.parquet", view, probes.training)
    settings = replace(probes, out=Path(), kinds=(), layers=())
    found: Found = {}
    classifiers = {kind: open_classifier(f"fitted:lite0_{kind}") for kind in probes.kinds}
    steps = [(kind, layer) for kind in probes.kinds for layer in probes.layers]
    for kind, layer in (bar := tqdm(steps, unit="probe", disable=None)):
        bar.set_description(f"{kind} {layer}")
        file = probes.out / kind / f"{layer.replace('?', '-').replace('=', '-')}.json"
        classifier = classifiers[kind]
        found[kind, layer] = keep(
            file,
            (settings, classifier.fingerprint(), layer),
            lambda c=classifier, x=layer: probe(probes, c, x, training, images, labels),  # type: ignore[misc]
        )
    rows = {each: row(probes, *each, found[each]) for each in found}
    write_table(probes.out / "probes.csv", list(rows.values()))
    write_curves(probes.out / "probes.png", rows)
    if tested := contrasts(probes.kinds, probes.layers, found):
        write_table(probes.out / "probes-contrasts.csv", tested)


def read(spec: str, view: View, count: int) -> tuple[Tensor, Tensor]:
    """Return images, N x 3 x S x S, and labels, N, spread at random over the source, the same in every run."""
    batches = list(Loader(open_images(spec), view, CHUNK, seed=SEED).once(count))
    return torch.cat([batch.images for batch in batches]), torch.cat([batch.labels for batch in batches])


def encode(classifier: Classifier, layer: str, images: Tensor) -> Tensor:
    """Return the raw representations of images at a layer, N x K."""
    parsed = Layer.parse(layer)
    return torch.cat([parsed(chunk) for chunk in run_module(classifier, parsed.module, images).split(CHUNK)])


# For training and held-out images: five of the layers are made of the same logits.
@lru_cache(maxsize=2)
@torch.no_grad()
def run_module(classifier: Classifier, module: str, images: Tensor) -> Tensor:
    """Return the output of a classifier's module for images; tensors are compared by identity."""
    return torch.cat([classifier.features(chunk, [module])[module] for chunk in images.split(CHUNK)])


def targets(images: Tensor) -> Tensor:
    """Return the mirror-averaged 4 x 4 colours and then the 8 x 8 colours as they are, N x (48 + 192)."""
    return torch.cat([layout(images), F.adaptive_avg_pool2d(images, 8).flatten(1)], 1)


def probe(
    probes: Probes, classifier: Classifier, layer: str, training: Tensor, images: Tensor, labels: Tensor
) -> dict[str, Any]:
    """Fit the probe of one layer; return, by measure, one value per image, and bits by line-up."""
    truth = targets(images)
    inputs = encode(classifier, layer, training)
    readings = fit_ridge(inputs, targets(training))(encode(classifier, layer, images))
    read, baseline = readings.read, readings.baseline
    cut = layout(images).shape[1]
    residual, total = (read - truth).square(), (truth - baseline).square()
    spaces = [_directions(read[:, part].float(), truth[:, part]) for part in (slice(cut), slice(cut, None))]
    kinds = {"any": torch.zeros_like(labels), "class": labels}
    among = {"any": min(probes.among, len(images) // 2), "class": probes.among_class}
    proven = {}
    for name, classes in kinds.items():
        lineups = Lineups.drawn(classes, among[name], SEED)
        scores = torch.stack([lineups.similarity(a, b) for a, b in spaces])
        proven[name] = bits(scores, SEED).tolist() if len(lineups.places) >= 2 else None
    centre = truth[:, :cut].mean(0)
    cosine = F.cosine_similarity(truth[:, :cut] - centre, read[:, :cut].float() - centre)
    return {
        "values": inputs.shape[1],
        "among": among["any"],
        "layout cosine": cosine.tolist(),
        "layout R2": 1 - float(residual[:, :cut].sum() / total[:, :cut].sum()),
        "8 x 8 R2": 1 - float(residual[:, cut:].sum() / total[:, cut:].sum()),
        "bits": proven,
    }


def _directions(read: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Both less the originals' mean, at length one, so that distances order as cosines do."""
    centre = truth.mean(0)
    return F.normalize(read - centre, dim=1), F.normalize(truth - centre, dim=1)


def row(probes: Probes, kind: str, layer: str, found: dict[str, Any]) -> dict[str, object]:
    """One line of the table."""
    return {
        "twin": kind,
        "representation": layer,
        "values": found["values"],
        "n": len(found["layout cosine"]),
        "layout R2": found["layout R2"],
        "8 x 8 R2": found["8 x 8 R2"],
        "layout cosine": bootstrap(torch.tensor(found["layout cosine"]), SEED),
        f"bits of {math.log2(found['among']):.3g}": _bits(found, "any"),
        f"bits beyond the class of {math.log2(probes.among_class):.3g}": _bits(found, "class"),
    }


def _bits(found: dict[str, Any], kind: str) -> Estimate | str:
    values = found["bits"][kind]
    return "" if values is None else over_lineups(torch.tensor(values).double(), -math.inf, math.inf)


def write_curves(file: Path, rows: Mapping[tuple[str, str], Mapping[str, object]]) -> None:
    """Draw the estimates of rows, by twin and layer, as PNG: a panel per measure, a line per twin with 95 % CIs."""
    kinds, layers = (list(dict.fromkeys(each)) for each in zip(*rows, strict=True))
    measures = dict.fromkeys(m for row in rows.values() for m, value in row.items() if isinstance(value, Estimate))
    with style():
        figure, axes = panels(1, len(measures), 2.6)
        for ax, measure in zip(axes, measures, strict=True):
            for index, kind in enumerate(kinds):
                points = {
                    place: value
                    for place, layer in enumerate(layers)
                    if isinstance(value := rows.get((kind, layer), {}).get(measure), Estimate)
                }
                values = list(points.values())
                errors = [[v.value - v.low for v in values], [v.high - v.value for v in values]]
                means = [v.value for v in values]
                look = {"marker": "o", "markersize": 3.5, "linewidth": 1.2, "color": colour(index), "label": kind}
                ax.errorbar(list(points), means, errors, **look)
            ax.set_title(measure)
            ax.set_xticks(range(len(layers)), [x.partition("?")[0] for x in layers], rotation=40, ha="right")
        axes[0].legend()
    save_figure(file, figure)


def contrasts(kinds: Sequence[str], layers: Sequence[str], found: Found) -> list[dict[str, object]]:
    """Test robust less standard at each layer, and each layer less the one before, on the same images and line-ups.

    P-values are corrected over the whole table (Holm). Layout cosines have a margin, within which both are equivalent.
    """
    pairs = {
        f"robust - standard, {layer}": (("robust", layer), ("standard", layer))
        for layer in layers
        if {"robust", "standard"} <= set(kinds)
    }
    for kind, (earlier, later) in product(kinds, pairwise(layers)):
        pairs[f"{kind}, {later} - {earlier}"] = (kind, later), (kind, earlier)
    tests: dict[tuple[str, str], Difference] = {}
    for name, (a, b) in pairs.items():
        key = (name, "layout cosine")
        cosines = [torch.tensor(found[each]["layout cosine"]).double() for each in (a, b)]
        tests[key] = paired_tests({key: cosines[0] - cosines[1]}, SEED, {key: MARGIN})[key]
        for lineups, called in (("any", "bits"), ("class", "bits beyond the class")):
            proven = [torch.tensor(found[each]["bits"][lineups] or []).double() for each in (a, b)]
            if proven[0].numel():
                tests[name, called] = difference_over_lineups(*proven)
    return paired_rows(tests)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Probes, description=__doc__))))
