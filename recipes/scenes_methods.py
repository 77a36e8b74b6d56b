"""Compare all inversion methods on scenes: one classifier, equal training images, one table and one figure.

Run (the same command resumes; with --num-images 18000 about 50 minutes on one core):

    python recipes/scenes_methods.py

Trains the demo's robust classifier (or uses `--classifier`), trains each learned method on the same number of the same
images, and measures these, the optimisation methods and the nearest neighbour on held-out scenes. Writes into
runs/methods:

- methods.csv and methods.png: how often the class is kept, the errors of logits, layout and pixels, the bits of the
  original that are proven (`identify`), the diversity of samples, how often an automated observer (ST-LPIPS) prefers
  the first method, and the cost per image. Intervals are of one method alone; their overlap is no test.
- methods-contrasts.csv: each method minus "paper" on the same images, with the paired interval, p (Holm) and verdict.

Expected: the table in RESULTS.md.

"Same class" and "logit cosine" favour methods that train or optimise against the inverted classifier: Dosovitskiy &
Brox 2016a, which compares its features, the re-encoding loss, and the optimisation methods. "Same class for the judge"
is evaluated by another classifier that takes no part in training: `--judge small:runs/demo/standard/classifier`.

"paper" is the demo's inverter. The table lists its deviations (projected discriminator, layout loss). Each of its three
ablations differs only in what its name states.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
import tyro
from demo import HELD_OUT, IMAGES, Demo, classifier_config, classifier_folder, inverter_config
from recipe_results import paired_rows, save_figure, write_table
from torch import Tensor

from unlogit import metrics
from unlogit.analyses import Evidence, identify, perceptual_network
from unlogit.classifier_training import fit
from unlogit.classifiers import Classifier, open_classifier
from unlogit.cli import guarded
from unlogit.drawing import INK, Block, sheet, style
from unlogit.files import marked, replacing
from unlogit.images import open_images, to_bytes
from unlogit.methods import Inverter, cost, open_inverter
from unlogit.methods.decoder import DOSOVITSKIY_2016A, DecoderConfig, DosovitskiyConfig
from unlogit.methods.flow import FlowConfig
from unlogit.metrics import Metric, Unavailable
from unlogit.metrics.identification import difference_over_lineups, over_lineups
from unlogit.metrics.pixel import diversity, layout, layout_cosine, pixel_error
from unlogit.metrics.reencoding import agreement, logit_cosine
from unlogit.settings import Checked
from unlogit.statistics import Difference, Estimate, bootstrap, paired_tests, wilson
from unlogit.training import TrainConfig, train

OPTIMISED = ("mahendran", "engstrom")
SEED = 0
DRAWS, DRAW_IMAGES = 4, 32
OBSERVER = "st_lpips_alex"


@dataclass(frozen=True)
class Methods(Checked):
    """Options: folder, length of training, and methods."""

    out: Path = Path("runs/methods")
    """Folder for the results: methods.csv, methods.png and methods-contrasts.csv."""
    classifier: str | None = None
    """Classifier of scenes to invert, as source:name. Default: the demo's robust classifier, which is trained here."""
    num_images: int = 28_000
    """Number of training images seen by each learned method."""
    judge: str | None = None
    """Second classifier of scenes, as source:name, that checks whether the class is kept. Default: none."""
    num_fit_images: int = 64_000
    """Number of training images seen by the classifier that is trained here."""
    held_out: int = 1_000
    """Number of held-out images on which learned methods and the nearest neighbour are measured."""
    optimised: int = 64
    """Number of these images on which the optimisation methods are measured."""
    steps: int = 500
    """Number of gradient steps of the optimisation methods."""
    shown: int = 8
    """Number of images in the figure."""
    learned: tuple[str, ...] = (
        "paper",
        "paper, loss alone",
        "paper + re-encoding",
        "paper, R3GAN's loss",
        "Dosovitskiy & Brox 2016a",
        "Dosovitskiy & Brox 2016b",
        "flow",
        "label only",
    )
    """Learned methods to train and measure, by name."""
    untrained: tuple[str, ...] = (*OPTIMISED, "nearest")
    """Methods without training to measure, by name."""


def configs(m: Methods, classifier: str) -> dict[str, TrainConfig]:
    """Return the trainings of the learned methods, by the name shown."""
    base = of(Demo(out=m.out, num_images=m.num_images), classifier)
    # A decoder of about the generator's cost.
    decoder: dict[str, Any] = {"size": base.size, "decoder": DecoderConfig(channels=12, hidden=256)}
    found = {
        "paper": base,
        "paper, loss alone": replace(base, method=replace(base.method, layout_weight=0.0)),
        "paper + re-encoding": replace(base, method=replace(base.method, reencoding_weight=1.0)),
        "paper, R3GAN's loss": replace(
            base,
            method=replace(base.method, adversarial="relativistic", gradient_penalty=1.0),
        ),
        "Dosovitskiy & Brox 2016a": replace(base, method=replace(DOSOVITSKIY_2016A, module="stages.2", **decoder)),
        "Dosovitskiy & Brox 2016b": replace(base, method=DosovitskiyConfig(**decoder)),
        "flow": replace(base, method=FlowConfig(size=base.size)),
        "label only": replace(base, layer="label"),
    }
    return {name: replace(config, out=m.out / "learned" / folder(name)) for name, config in found.items()}


def of(demo: Demo, classifier: str) -> TrainConfig:
    """Return the demo's training for this classifier, whose features the discriminator has too."""
    base = replace(inverter_config(demo, "robust", "logits"), classifier=classifier)
    return replace(
        base, method=replace(base.method, discriminator=replace(base.method.discriminator, network=classifier))
    )


def folder(name: str) -> str:
    """Return the name of the folder of what is shown by `name`."""
    return "-".join("".join(c if c.isalnum() else " " for c in name).split())


def spec(m: Methods, method: str, classifier: str, size: int) -> str:
    """Return the string that opens a method that is not trained."""
    common = f"{method}:[{classifier}]?size={size}"
    if method == "nearest":
        return f"{common}&images=[{IMAGES}]&limit={m.num_images}&cache={m.out / 'cache'}"
    return f"{common}&steps={m.steps}"


Row = dict[str, Estimate | str | float | int | None]
BITS = "bits of the original"
OBSERVED = "ST-LPIPS"
SHARES = ("same class", "same class for the judge")
"""Measures that are 0 or 1 for each image."""


def measure(name: str, evidence: Evidence, judge: Classifier | None) -> dict[str, Tensor]:
    """Return by measure one value per image, N, and for bits one per line-up and image; too few line-ups have none."""
    made = evidence.reconstructed(name)
    centre = torch.cat([layout(images) for images in evidence.originals.chunks()]).mean(0)
    pairs = list(zip(evidence.originals.chunks(), made.images.chunks(), strict=True))
    mean = made.logits.mean(0)
    values = {"same class": agreement(made.logits, made.reencoded).double()}
    if judge is not None:
        with torch.no_grad():
            values["same class for the judge"] = torch.cat([agreement(judge(a), judge(b)) for a, b in pairs]).double()
    values |= {
        "logit cosine": logit_cosine(made.logits - mean, made.reencoded - mean),
        "layout cosine": torch.cat([layout_cosine(a, b, centre) for a, b in pairs]),
        "pixel error": torch.cat([pixel_error(a, b) for a, b in pairs]),
    }
    proven = identify.proven_bits(identify.Config(), evidence, name)["any"]
    return values if len(proven) < identify.LEAST else values | {BITS: proven}


def estimate(metric: str, values: Tensor) -> Estimate:
    """Return the mean of a measure with its interval over images, or over line-ups for bits."""
    if metric == BITS:
        return over_lineups(values, -math.inf, math.log2(values.shape[1]))
    return wilson(int(values.sum()), len(values)) if metric in SHARES else bootstrap(values, SEED)


def describe(name: str, evidence: Evidence, values: Mapping[str, Tensor], training: Mapping[str, int]) -> Row:
    """Return one line of the table, with what `measure` returned."""
    inverter = evidence.inverters[name]
    few = min(DRAW_IMAGES, max(2, len(evidence) // 8))  # An optimisation takes as long for each draw.
    draws = evidence.draws(name, torch.arange(few), DRAWS)
    raw = evidence.encoded(name).raw[inverter.representation.layer]
    spent = cost(inverter, raw[:16], repeats=1 if "steps" in " ".join(inverter.deviations) else 3)
    return {
        "method": name,
        "deviations": "; ".join(inverter.deviations),
        **training,
        "n": len(evidence),
        **{metric: estimate(metric, each) for metric, each in values.items()},
        "bits by": ", ".join(["pixels", "layout", *([evidence.features.spec] if evidence.features else [])]),
        "diversity": None if draws is None else bootstrap(diversity(draws), SEED),
        "seconds per image": float(f"{spent.seconds:.3g}"),
        "GFLOPs an image": float(f"{spent.flops / 1e9:.3g}"),
        "measured on": f"{spent.device}, {spent.batch} at a time",
    }


Values = Mapping[tuple[str, int], Mapping[str, Tensor]]
"""What `measure` returned, by method and number of images, which are the same images for all methods."""


def compared(methods: Sequence[str], baselines: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs that are compared: each method with each baseline, and two baselines once."""
    pairs = [(method, baseline) for baseline in baselines for method in methods if method not in baselines]
    return pairs + [(later, earlier) for earlier, later in combinations(baselines, 2)]


def contrasts(
    pairs: Sequence[tuple[str, str]], values: Values, observed: Mapping[str, Tensor], counts: Mapping[str, int]
) -> list[dict[str, object]]:
    """Return a row per pair and measure: the first less the second, paired, with p-values corrected over all (Holm).

    Args:
        pairs: methods that are compared.
        values: values of both methods of a pair at the smaller of their two numbers of images.
        observed: perceptual distances by method, of the same images for all; empty without an observer.
        counts: number of images that each method is measured on.
    """
    tests: dict[tuple[str, str], Difference] = {}
    for method, baseline in pairs:
        n = min(counts[method], counts[baseline])
        one, other = (
            {**values[name, n], **({OBSERVED: observed[name]} if observed else {})} for name in (method, baseline)
        )
        for metric in one:
            a, b = one[metric].double(), other[metric].double()
            key = (f"{method} - {baseline}", metric)
            tests[key] = difference_over_lineups(a, b) if a.ndim == 2 else paired_tests({key: a - b}, SEED)[key]
    return paired_rows(tests)


def write(out: Path, rows: list[Row], shown: dict[str, Tensor]) -> None:
    """Write methods.csv, with the ends of intervals in columns of their own, and methods.png."""
    flat = []
    for row in rows:
        cells: dict[str, object] = {}
        for key, value in row.items():
            cells[key] = f"{value.value:.4f}" if isinstance(value, Estimate) else value
            if isinstance(value, Estimate):
                cells |= {f"{key} low": f"{value.low:.4f}", f"{key} high": f"{value.high:.4f}"}
        flat.append(cells)
    columns = list(dict.fromkeys(key for cells in flat for key in cells))
    with replacing(out / "methods.csv", marked(b"method,deviations,")) as fresh, fresh.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        writer.writerows(flat)
    images = torch.stack([to_bytes(column) for column in shown.values()], 1)
    with style():
        figure = sheet([Block("", INK, tuple(shown), images)])
    save_figure(out / "methods.png", figure)


def main(m: Methods) -> None:
    """Train the classifier and all methods, and measure them."""
    classifier = m.classifier
    if classifier is None:
        demo = Demo(out=m.out, num_fit_images=m.num_fit_images)
        fit(classifier_config(demo, "robust"))
        classifier = f"small:{classifier_folder(demo, 'robust')}"
    trained: dict[str, TrainConfig] = {name: configs(m, classifier)[name] for name in m.learned}
    for config in trained.values():
        train(config)
    inverters: dict[str, Inverter] = {n: open_inverter(str(c.out / "inverter")) for n, c in trained.items()}
    for method in m.untrained:
        size = next(iter(configs(m, classifier).values())).size
        inverters[method] = open_inverter(spec(m, method, classifier, size))
    counts = {name: m.optimised if name in OPTIMISED else m.held_out for name in inverters}
    lengths = {name: config.num_images for name, config in trained.items()}
    compare(
        m.out,
        inverters,
        HELD_OUT,
        counts,
        lengths,
        m.shown,
        m.judge,
        perceptual_network(inverters),
        [next(iter(inverters))],
    )


def compare(
    out: Path,
    inverters: Mapping[str, Inverter],
    held_out: str,
    counts: Mapping[str, int],
    trained: Mapping[str, int],
    shown: int,
    judge: str | None,
    features: Classifier | None,
    baselines: Sequence[str],
) -> None:
    """Measure every inverter on held-out images, and write both tables and the figure of the first `shown` images.

    Args:
        out: the folder.
        inverters: by the name shown, all of one classifier.
        held_out: images as source:name.
        counts: how many of them an inverter is measured on.
        trained: training images of those that were trained.
        shown: rows of the figure.
        judge: another classifier of these classes, as source:name.
        features: network whose features, beside pixels and layout, the bits are measured by; none of the inverters is
            trained with it. None, where none is installed, measures by pixels and layout alone.
        baselines: methods that each other one is compared with.
    """
    fewest = min(counts.values())
    observer = _observer()
    asked = None if judge is None else open_classifier(judge)
    pairs = compared(list(inverters), baselines)
    # Each method is measured on its own number of images, and both of a pair on the smaller of their two.
    measured = dict.fromkeys(counts.items())
    measured |= dict.fromkeys((name, min(counts[a], counts[b])) for a, b in pairs for name in (a, b))
    evidence = {
        n: Evidence(open_images(held_out), inverters, limit=n, features=features, seed=SEED)
        for n in sorted(set(counts.values()))
    }
    values = {(name, n): measure(name, evidence[n], asked) for name, n in measured}
    rows: list[Row] = []
    few = evidence[fewest]
    images = {"original": few.originals[:shown]}
    seen: dict[str, Tensor] = {}
    for name in inverters:
        training = {"training images": trained[name]} if name in trained else {}
        row = describe(name, evidence[counts[name]], values[name, counts[name]], training)
        made = few.reconstructed(name).images
        images[name] = made[:shown]
        if observer is not None:
            parts = zip(few.originals.chunks(), made.chunks(), strict=True)
            seen[name] = torch.cat([observer(a, b) for a, b in parts])
            first = next(iter(seen))
            if name != first:
                row[f"{first} preferred"] = wilson(int((seen[first] < seen[name]).sum()), fewest)
        rows.append(row)
        print(", ".join(f"{k} {v.value:.3f}" if isinstance(v, Estimate) else f"{k} {v}" for k, v in row.items()))
    write(out, rows, images)
    print(out / "methods.csv")
    if tested := contrasts(pairs, values, seen, counts):
        write_table(out / "methods-contrasts.csv", tested)


def _observer() -> Metric | None:
    """Return the metric whose lower value is a preference; None, with a warning, where its weights are missing."""
    try:
        return metrics.get(OBSERVER)
    except Unavailable as error:
        print(f"warning: no ST-LPIPS: {error}", file=sys.stderr)
        return None


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Methods, description=__doc__))))
