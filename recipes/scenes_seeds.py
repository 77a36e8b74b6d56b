"""Measure how much the agreement of the demo's label-only baseline depends on seeds.

Run (the same command resumes; a classifier takes two minutes on one core, an inverter five):

    python recipes/scenes_seeds.py                 # the label-only baseline, as in README and RESULTS.md
    python recipes/scenes_seeds.py --layer logits    # the inverter of the logits

Trains with the settings of `make demo` and three seeds: first a classifier and its inverter per seed, then inverters of
the other seeds for the first classifier. Two rows of one classifier differ only in the inverter's training (random
weights, noise and the order of images); rows of different classifiers differ in both. Writes seeds.csv into
runs/scenes_seeds, with the agreement and its interval over images, which includes neither source of variation. A
label-only inverter reads ten labels. All images of a class are therefore reconstructed much alike, and a whole class is
kept or lost: "classes kept" counts the classes that keep their label in more than half of their images.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from demo import HELD_OUT, Demo, classifier_config, inverter_config
from recipe_results import keep, write_table

from unlogit.analyses import Evidence
from unlogit.classifier_training import fit
from unlogit.cli import guarded
from unlogit.images import open_images
from unlogit.methods import open_inverter
from unlogit.metrics.reencoding import agreement
from unlogit.settings import Checked, Count, Seed, Several
from unlogit.statistics import wilson
from unlogit.training import train


@dataclass(frozen=True)
class Seeds(Checked):
    """Options: layer, seeds and sizes."""

    out: Path = Path("runs/scenes_seeds")
    """Folder for the results: trainings and seeds.csv."""
    layer: Literal["label", "logits"] = "label"
    """Layer to invert: "label", the one-hot predicted class, or "logits"."""
    seeds: tuple[Seed, ...] = (0, 1, 2)
    """Random seeds: a classifier and an inverter per seed, and further inverters for the first classifier."""
    num_images: Count = Demo.num_images
    """Number of training images seen by each inverter."""
    num_fit_images: Count = Demo.num_fit_images
    """Number of training images seen by each classifier."""
    held_out: Several = Demo.held_out
    """Number of held-out images on which agreement is measured."""


def main(seeds: Seeds) -> None:
    """Train and measure every pair of seeds that has not been yet, and write the table."""
    pairs = [(seed, seed) for seed in seeds.seeds] + [(seeds.seeds[0], seed) for seed in seeds.seeds[1:]]
    rows: list[dict[str, object]] = []
    for of_classifier, of_inverter in pairs:
        demo = Demo(seeds.out / f"classifier-{of_classifier}", seeds.num_images, seeds.num_fit_images)
        fitting = replace(classifier_config(demo, "robust"), seed=of_classifier)
        config = inverter_config(demo, "robust", seeds.layer)
        config = replace(config, out=config.out / f"seed-{of_inverter}", seed=of_inverter)

        def measure(fitting=fitting, config=config) -> dict[str, Any]:  # type: ignore[no-untyped-def]
            fit(fitting)
            train(config)
            name = "inverter"
            inverter = open_inverter(str(config.out / name))
            made = Evidence(open_images(HELD_OUT), {name: inverter}, limit=seeds.held_out).reconstructed(name)
            kept, labels = agreement(made.logits, made.reencoded), made.logits.argmax(1)
            by_class = [float(kept[labels == label].float().mean()) for label in labels.unique()]
            return {"kept": int(kept.sum()), "n": len(kept), "by class": by_class}

        found = keep(config.out / "measured.json", (fitting, config, seeds.held_out), measure)
        shares = torch.tensor(found["by class"])
        rows.append(
            {
                "layer": seeds.layer,
                "classifier seed": of_classifier,
                "inverter seed": of_inverter,
                "n": found["n"],
                "agreement": wilson(found["kept"], found["n"]),
                "classes kept": f"{int((shares > 0.5).sum())} of {len(shares)}",
            }
        )
        write_table(seeds.out / "seeds.csv", rows)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Seeds, description=__doc__))))
