"""Compare what logits keep, by architecture and training objective, at equal held-out accuracy.

Run (the same command resumes, cell by cell):

    python recipes/architectures.py                     # scenes, whose factors are known
    python recipes/architectures.py --images parquet:DIR/train.parquet --held-out parquet:DIR/test.parquet --flip
    python recipes/architectures.py --only probes       # without inverters

Each of `mini:resnet`, `mini:plain` (the same without shortcuts), `mini:inception`, `mini:vit` and `mini:mixer` is
trained on clean and on adversarial images, with three seeds, until it first reaches `--target-accuracy` on held-out
images. The recipe measures a linear probe of its logits (R2 and cosine of the layout, bits beyond the true class, for
scenes also each factor) and one inverter of them. All inverters have the same settings, with a discriminator on the
features of EfficientNet-Lite0, which belong to none of these networks. A `small:` classifier, trained for this purpose
alone, evaluates whether the class is kept.

Trained classifiers are compared by name, without further training:

    python recipes/architectures.py --classifiers packaged:efficientnet_lite0 packaged:efficientnet_lite1 \
        packaged:efficientnet_lite2 --images 'parquet:DIR/train-*.parquet' --held-out parquet:DIR/val.parquet \
        --size 64 --only probes
    python recipes/architectures.py --classifiers torchvision:inception_v3 timm:resnetv2_152x2_bit.goog_in21k_ft_in1k \
        madry:resnet50_linf_eps4.ckpt --judge packaged:efficientnet_lite2 --images folder:train --held-out folder:val \
        --size 64 --num-images 1000000

The last command is the paper's comparison; it needs a network for two of the weights and the file of the third.

Writes probes.csv, probes-contrasts.csv, inverters.csv and inverters-contrasts.csv into runs/architectures, for scenes
also factors.csv and factors-contrasts.csv, each table with a figure. `--layer penultimate` (the class token of
`mini:vit`, pooled features of the others) writes inverters-penultimate.csv and its contrasts. The unit is the seed:
intervals are Student's over seeds, contrasts are paired by seed. Cells that miss the target accuracy are left out of
these tables; accuracy.csv has all cells. For trained classifiers, intervals of probes are over images, and seeds are
those of the inverters.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import depth_probes
import torch
import tyro
from _cells import Cell, Results, arm_rows, contrast_rows, run_cells, write_figure
from _neutral_inverter import inverter_config, measure
from depth_probes import Probes
from recipe_results import write_table
from scenes_methods import folder
from torch import Tensor

from unlogit.analyses._factors import of_source
from unlogit.classifier_training import FitConfig, fit
from unlogit.classifiers import Classifier, open_classifier
from unlogit.cli import guarded
from unlogit.errors import UnlogitError
from unlogit.images import Loader, View, open_images
from unlogit.images.scenes import SceneImages
from unlogit.metrics.probe import cross_fit
from unlogit.runtime.progress import Metrics
from unlogit.settings import Checked, Count, Rate, Seed, Several, Share
from unlogit.training import train

ARCHITECTURES = ("resnet", "plain", "inception", "vit", "mixer")
Objective = Literal["standard", "adversarial"]
FOLDS = 5
PROBED = ("layout R2", "layout cosine", "bits", "bits beyond the class")
INVERTED = ("layout cosine", "same class for the judge", "ST-LPIPS", "same class", "logit cosine")
SEED = 0


@dataclass(frozen=True)
class Architectures(Checked):
    """Options: what is compared, on which images, and for how long."""

    images: str = "scenes:"
    """Labelled training images as source:name."""
    held_out: str = "scenes:test"
    """Labelled held-out images for accuracies and measures, as source:name; never used for training."""
    out: Path = Path("runs/architectures")
    """Folder for the results: classifiers, inverters, tables and figures."""
    only: Literal["probes", "inverters"] | None = None
    """Part to measure: "probes" or "inverters". Default: both."""
    architectures: tuple[str, ...] = ARCHITECTURES
    """Architectures to train, as NAME of mini:NAME."""
    objectives: tuple[Objective, ...] = ("standard", "adversarial")
    """Training objectives: "standard" on clean images, "adversarial" on attacked images."""
    seeds: tuple[Seed, ...] = (0, 1, 2)
    """Random seeds; each classifier and inverter is trained once per seed."""
    target_accuracy: Share = 0.6
    """Held-out accuracy, 0 to 1, at which the training of each classifier stops."""
    target_every: Count = 1_280
    """Number of training images between two measurements of that accuracy."""
    num_fit_images: Count = 256_000
    """Maximum number of training images seen by each classifier."""
    learning_rate: Rate = 1e-3
    """Peak learning rate of the classifiers."""
    epsilon: Share = 4 / 255
    """L-inf radius of the attacks in adversarial training, for pixels in [0, 1]."""
    test_images: Count = 2_000
    """Number of held-out images for the accuracies."""
    flip: bool = False
    """Mirror half of the training images. Do not use it for scenes, where mirroring is a factor."""
    classifiers: tuple[str, ...] = ()
    """Trained classifiers to compare instead of training any, as source:name. Default: none."""
    judge: str | None = None
    """Classifier, as source:name, that checks whether the class is kept. Default: a small one, trained here."""
    layer: str = "logits"
    """Layer to invert: "logits", "penultimate" or the name of a module. Probes always read the logits."""
    num_images: Count = 50_000
    """Number of training images seen by each inverter."""
    size: Count = 32
    """Side of the images in pixels."""
    channels: Count = 12
    """Width unit of the generator."""
    probe_images: Several = 4_000
    """Number of training images on which probes are fitted."""
    measured: Several = 2_048
    """Number of held-out images on which probes and inverters are measured."""
    among: Several = 256
    """Number of originals, of any class, in a line-up."""
    among_class: Several = 8
    """Number of originals in a line-up of one true class."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the rows."""
        return self.classifiers or tuple(f"{a}, {o}" for a in self.architectures for o in self.objectives)

    @property
    def columns(self) -> tuple[str, ...]:
        return ("classifier",) if self.classifiers else ("architecture", "objective")


def main(a: Architectures) -> None:
    """Train and measure what has not been yet, and write the tables."""
    if not a.classifiers:
        write_table(a.out / "accuracy.csv", accuracy_rows(a, run_cells(a.arms, a.seeds, lambda *k: fit_cell(a, *k))))
    if a.only != "inverters":
        probed = run_cells(a.arms, a.seeds[:1] if a.classifiers else a.seeds, lambda *k: probe_cell(a, *k))
        if a.classifiers:
            write_table(a.out / "probes.csv", [image_row(a, arm, probed[arm][a.seeds[0]]) for arm in a.arms])
        else:
            tabulate(a, "probes", probed, PROBED)
            # A family of tests of its own: some twenty factors would hide what is asked first.
            if found := factors_of(probed):
                tabulate(a, "factors", probed, found)
    if a.only != "probes":
        inverted = run_cells(a.arms, a.seeds, lambda *k: inverter_cell(a, *k))
        tabulate(a, f"inverters{layer_suffix(a)}", inverted, INVERTED)


def layer_suffix(a: Architectures) -> str:
    """Return what folders and tables of inverters of other layers than the logits have at the end of their names."""
    return "" if a.layer == "logits" else f"-{folder(a.layer)}"


def tabulate(a: Architectures, name: str, results: Results, measures: Sequence[str]) -> None:
    """Write the table of a part and its contrasts, over the cells of equal accuracy."""
    kept = results if a.classifiers else at_target(a, results)
    if not any(kept.values()):
        raise UnlogitError(
            f"no classifier reached target accuracy {a.target_accuracy:g}: see accuracy.csv in '{a.out}'; give a lower "
            "--target-accuracy or more --num-fit-images"
        )
    # Accuracies are equal by construction, and no hypothesis that counts among the tested ones.
    shown = measures if a.classifiers else ("accuracy", *measures)
    write_table(a.out / f"{name}.csv", arm_rows(kept, shown, a.columns))
    write_figure(a.out / f"{name}.png", kept, measures)
    if rows := contrast_rows(kept, contrasts(a), measures):
        write_table(a.out / f"{name}-contrasts.csv", rows)


def contrasts(a: Architectures) -> list[tuple[str, str]]:
    """Return the pairs of rows that are tested: the shortcuts, the paper's two families, and the objectives."""
    if a.classifiers:
        return list(zip(a.classifiers[1:], a.classifiers, strict=False))
    pairs = [(one, other) for one, other in (("resnet", "plain"), ("resnet", "inception"))]
    found = [(f"{one}, {o}", f"{other}, {o}") for one, other in pairs for o in a.objectives]
    found += [(f"{name}, adversarial", f"{name}, standard") for name in a.architectures]
    return [pair for pair in found if set(pair) <= set(a.arms)]


def at_target(a: Architectures, results: Results) -> Results:
    """Return the cells whose classifier reached the target accuracy."""
    return {
        arm: {seed: values for seed, values in runs.items() if values["accuracy"] >= a.target_accuracy}
        for arm, runs in results.items()
    }


def fit_config(a: Architectures, arm: str, seed: int) -> FitConfig:
    """Return the training of one classifier."""
    architecture, _, objective = arm.partition(", ")
    return FitConfig(
        out=a.out / folder(arm) / str(seed) / "classifier",
        images=a.images,
        test_images=a.held_out,
        start=f"mini:{architecture}?seed={seed}",
        objective="fgsm" if objective == "adversarial" else "standard",
        epsilon=a.epsilon,
        num_images=a.num_fit_images,
        target_accuracy=a.target_accuracy,
        target_every=a.target_every,
        batch=32,
        learning_rate_rest=a.learning_rate,
        ema_half_life=2_000,
        flip=a.flip,
        size=a.size,
        num_test_images=a.test_images,
        num_attacked_images=min(a.test_images, 256),
        seed=seed,
    )


def judge_config(a: Architectures) -> FitConfig:
    """Return the training of the judge, which nothing is trained with."""
    return FitConfig(
        out=a.out / "judge",
        images=a.images,
        test_images=a.held_out,
        num_images=min(a.num_fit_images, 64_000),
        flip=a.flip,
        num_test_images=a.test_images,
        num_attacked_images=min(a.test_images, 256),
        seed=100,
    )


def classifier_of(a: Architectures, arm: str, seed: int) -> str:
    """Return the spec of a cell's classifier, which is trained where it is not yet."""
    if a.classifiers:
        return arm
    config = fit_config(a, arm, seed)
    fit(config)
    return config.spec


def fit_cell(a: Architectures, arm: str, seed: int) -> Cell:
    """Return the cell that trains a classifier."""
    config = fit_config(a, arm, seed)

    def compute() -> dict[str, Any]:
        reached = fit(config)
        images = Metrics(config.out / "metrics.jsonl").lines()[-1]["images"]
        return {
            "accuracy": reached["clean"]["accuracy"],
            "PGD-20": reached["pgd-20"]["accuracy"],
            "training images": images,
        }

    return Cell(config.out.parent / "fit", config, compute)


def accuracy_rows(a: Architectures, results: Results) -> list[dict[str, object]]:
    """Return what each classifier reached, and after how many images."""
    counts = {arm: f"{len(runs)} of {len(results[arm])}" for arm, runs in at_target(a, results).items()}
    rows = arm_rows(results, ("accuracy", "PGD-20", "training images"), a.columns)
    return [row | {"at target": count} for row, count in zip(rows, counts.values(), strict=True)]


def probe_cell(a: Architectures, arm: str, seed: int) -> Cell:
    """Return the cell that probes a classifier's logits."""

    def compute() -> dict[str, Any]:
        classifier = _open(classifier_of(a, arm, seed))
        probes = probes_of(a)
        view = View(a.size)
        training, _ = _read(a.images, view, a.probe_images)
        images, labels = _read(a.held_out, view, a.measured)
        with torch.no_grad():
            found = depth_probes.probe(probes, classifier, "logits", training, images, labels)
        bits = {
            kind: None if each is None else float(torch.tensor(each).mean()) for kind, each in found["bits"].items()
        }
        return {
            **accuracy_of(a, arm, seed),
            "layout R2": found["layout R2"],
            "layout cosine": float(torch.tensor(found["layout cosine"]).mean()),
            "bits": bits["any"],
            "bits beyond the class": bits["class"],
            **factors(a, classifier),
            "by image": found,
        }

    settings = (measured_on(a), a.probe_images, a.among, a.among_class, spec_settings(a, arm, seed))
    return Cell(a.out / folder(arm) / str(seed) / "probe", settings, compute)


def probes_of(a: Architectures) -> Probes:
    """Return the same settings as `depth_probes` has them."""
    return Probes(Path(), among=a.among, among_class=a.among_class, size=a.size)


def image_row(a: Architectures, arm: str, values: dict[str, Any]) -> dict[str, object]:
    """Return a row of a classifier that was trained before, with intervals over images."""
    row = depth_probes.row(probes_of(a), arm, "logits", values["by image"])
    return {"classifier": row.pop("twin"), **row}


def factors(a: Architectures, classifier: Classifier) -> dict[str, float]:
    """Return R2 of a linear probe of each factor, cross-fitted on held-out scenes; nothing for other images."""
    source = open_images(a.held_out)
    if not isinstance(source, SceneImages):
        return {}
    batches = list(Loader(source, View(a.size), depth_probes.CHUNK, seed=SEED).once(a.measured))
    raw = torch.cat([depth_probes.encode(classifier, "logits", batch.images) for batch in batches])
    found = {}
    for name, target in of_source(source, torch.cat([batch.indices for batch in batches])).items():
        shown = target.shows.nonzero()[:, 0]
        if len(shown) >= 2 * FOLDS:
            values = target.values[shown].double()
            probed = cross_fit(raw[shown], values, FOLDS, SEED)
            total = (values - probed.baseline).square().sum().clamp(min=1e-12)
            found[f"R2 of {name}"] = 1 - float((values - probed.read).square().sum() / total)
    return found


def factors_of(results: Results) -> list[str]:
    """Return the measures of factors, where there are any."""
    first = next(iter(next(iter(results.values())).values()))
    return [measure for measure in first if measure.startswith("R2 of ")]


def inverter_cell(a: Architectures, arm: str, seed: int) -> Cell:
    """Return the cell that trains an inverter of a classifier's layer and measures it."""
    home = a.out / folder(arm) / str(seed) / f"inverter{layer_suffix(a)}"
    config = inverter_config(
        a.images,
        a.held_out,
        arm if a.classifiers else fit_config(a, arm, seed).spec,
        home / "run",
        a.out / "cache",
        size=a.size,
        channels=a.channels,
        num_images=a.num_images,
        seed=seed,
    )
    config = replace(config, layer=a.layer)

    def compute() -> dict[str, Any]:
        classifier_of(a, arm, seed)
        train(config)
        return {**accuracy_of(a, arm, seed), **measure(config.out / "inverter", a.held_out, a.measured, _judge(a))}

    return Cell(home, (config, measured_on(a), a.judge, spec_settings(a, arm, seed)), compute)


def accuracy_of(a: Architectures, arm: str, seed: int) -> dict[str, float]:
    """Return the accuracy that a trained classifier of this recipe reached; nothing for others."""
    return {} if a.classifiers else {"accuracy": fit(fit_config(a, arm, seed))["clean"]["accuracy"]}


def measured_on(a: Architectures) -> tuple[object, ...]:
    """Return the settings of all measures."""
    return (a.images, a.held_out, a.size, a.measured)


def spec_settings(a: Architectures, arm: str, seed: int) -> object:
    """Return what decides a cell's classifier."""
    return arm if a.classifiers else fit_config(a, arm, seed)


def _judge(a: Architectures) -> Classifier:
    if a.judge is not None:
        return _open(a.judge)
    config = judge_config(a)
    fit(config)
    return _open(config.spec)


@cache
def _open(spec: str) -> Classifier:
    return open_classifier(spec)


@cache
def _read(spec: str, view: View, count: int) -> tuple[Tensor, Tensor]:
    return depth_probes.read(spec, view, count)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Architectures, description=__doc__))))
