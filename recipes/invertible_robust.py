"""Test whether invertible logits make a classifier robust: the paper's open question, as a controlled experiment.

Run (the same command resumes, cell by cell):

    python recipes/invertible_robust.py                  # scenes
    python recipes/invertible_robust.py --images parquet:DIR/train.parquet --held-out parquet:DIR/test.parquet --flip

The built-in classifier is trained on clean images. During training alone, an auxiliary linear head reads each image's
4 x 4 colours from the logits. The head's loss is the share of their variance that it does not read, with a weight of 0,
0.1 or 1. Five seeds each. Negative control: weight 1 with the colours of other images, which cannot be learnt. Positive
control: adversarial training without the head.

The recipe measures the R2 of a new linear probe of the logits, which shows whether the manipulation worked, clean
accuracy, and accuracy under PGD-20 with restarts at 1/255 to 4/255. Writes arms.csv, arms.png and contrasts.csv into
runs/invertible_robust. Intervals are Student's over seeds; contrasts to weight 0 are paired by seed. A difference in
accuracy counts as equivalent to none if its interval lies within plus or minus `--margin`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from _cells import Cell, Results, arm_rows, contrast_rows, robust_accuracy, run_cells, write_figure
from depth_probes import encode, read
from recipe_results import write_table
from scenes_methods import folder

from unlogit.classifier_training import FitConfig, fit
from unlogit.classifiers import open_classifier
from unlogit.cli import guarded
from unlogit.errors import UnlogitError
from unlogit.images import View
from unlogit.metrics.pixel import layout
from unlogit.metrics.probe import fit_ridge
from unlogit.settings import Checked, Count, Seed, Several, Share, Weight, Width

RADII = tuple(k / 255 for k in (1, 2, 3, 4))
BASELINE, ADVERSARIAL = "weight 0", "adversarial"
EPSILON = 4 / 255
"""Radius of adversarial training (FGSM from a random start)."""


@dataclass(frozen=True)
class Invertible(Checked):
    """Options: images, arms and sizes."""

    images: str = "scenes:"
    """Labelled training images as source:name."""
    held_out: str = "scenes:test"
    """Labelled held-out images for all measurements, as source:name; never used for training."""
    out: Path = Path("runs/invertible_robust")
    """Folder for the results: arms.csv, arms.png and contrasts.csv."""
    weights: tuple[Weight, ...] = (0.0, 0.1, 1.0)
    """Weights of the auxiliary head, one arm each; 0 is always included. The negative control uses the largest."""
    seeds: tuple[Seed, ...] = (0, 1, 2, 3, 4)
    """Random seeds; each arm is trained once per seed."""
    num_images: Count = 64_000
    """Number of training images seen by each classifier."""
    widths: tuple[Width, ...] = (24, 48, 96)
    """Channels of each stage of the classifier."""
    flip: bool = False
    """Mirror half of the training images. Do not use it for scenes, where mirroring is a factor."""
    size: Count = 32
    """Side of the images in pixels."""
    probe_images: Several = 4_000
    """Number of training images on which probes are fitted."""
    measured: Several = 2_000
    """Number of held-out images for probes and clean accuracy."""
    attacked: Several = 500
    """Number of these images that are attacked."""
    restarts: Count = 3
    """Number of random starts per attack."""
    margin: Share = 0.02
    """Equivalence margin: a difference in accuracy up to this share, 0 to 1, counts as none."""

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        """What the training of each arm differs in from the defaults of `FitConfig`."""
        weights = sorted({0.0, *self.weights})
        head = {f"weight {weight:g}": {"layout_weight": weight} for weight in weights}
        control = {"layout_weight": weights[-1], "layout_shuffled": True}
        adversarial = {"objective": "fgsm", "epsilon": EPSILON}
        return head | {f"weight {weights[-1]:g}, shuffled": control, ADVERSARIAL: adversarial}


def main(i: Invertible) -> None:
    """Train and measure what has not been yet, and write both tables."""
    if not any(i.weights):
        raise UnlogitError(f"weights {i.weights}: must include one above 0; give --weights 0.1 1")
    results = run_cells(list(i.arms), i.seeds, lambda arm, seed: cell(i, arm, seed))
    write_tables(i, results)


def write_tables(i: Invertible, results: Results) -> None:
    """Write means over seeds, and each arm less the baseline."""
    accuracies = ["clean accuracy", *(f"PGD-20 at {name(radius)}" for radius in RADII)]
    measures = ["layout R2", *accuracies]
    write_table(i.out / "arms.csv", arm_rows(results, measures))
    write_figure(i.out / "arms.png", results, measures)
    pairs = [(arm, BASELINE) for arm in results if arm != BASELINE]
    rows = contrast_rows(results, pairs, measures, dict.fromkeys(accuracies, i.margin))
    if rows:
        write_table(i.out / "contrasts.csv", rows)


def config(i: Invertible, arm: str, seed: int) -> FitConfig:
    """Return the training of one classifier."""
    return FitConfig(
        out=i.out / folder(arm) / str(seed) / "classifier",
        images=i.images,
        test_images=i.held_out,
        num_images=i.num_images,
        widths=i.widths,
        flip=i.flip,
        size=i.size,
        num_test_images=i.measured,
        num_attacked_images=2,  # Attacked below, with restarts.
        seed=seed,
        **i.arms[arm],
    )


def cell(i: Invertible, arm: str, seed: int) -> Cell:
    """Return the cell of one arm and seed."""
    fitting = config(i, arm, seed)

    def compute() -> dict[str, Any]:
        reached = fit(fitting)
        classifier = open_classifier(fitting.spec)
        view = View(i.size)
        training, _ = read(i.images, view, i.probe_images)
        images, labels = read(i.held_out, view, i.measured)
        probed = fit_ridge(encode(classifier, "logits", training), layout(training))(
            encode(classifier, "logits", images)
        )
        truth = layout(images)
        left, whole = (truth - probed.read).square().sum(), (truth - probed.baseline).square().sum()
        few = slice(i.attacked)
        robust = robust_accuracy(classifier, images[few], labels[few], RADII, i.restarts, seed)
        return {
            "layout R2": 1 - float(left / whole),
            "clean accuracy": reached["clean"]["accuracy"],
            **{f"PGD-20 at {name(radius)}": share for radius, share in robust.items()},
        }

    measured = (i.probe_images, i.measured, i.attacked, i.restarts)
    return Cell(fitting.out.parent, (fitting, measured), compute)


def name(radius: float) -> str:
    """Return a radius as it is usually written."""
    return f"{round(radius * 255)}/255"


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Invertible, description=__doc__))))
