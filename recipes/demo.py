"""Run the full pipeline on built-in images: train two classifiers and an inverter of each, and write a report.

Run:

    python recipes/demo.py            # or: make demo

The recipe trains a standard and an adversarially trained small classifier on scenes with known factors, and an inverter
of the logits of each. While all analyses run, it trains a baseline: an inverter of the robust classifier's predicted
class. Two processes of one thread each run side by side. All results are written to runs/demo; the same command
resumes. Expected: see README.

All inverters are trained against the same discriminator, with heads on the robust classifier's features. They differ
only in their input.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from unlogit import analyses, photos
from unlogit.analyses import Evidence, perceptual_network
from unlogit.classifier_training import FitConfig, fit
from unlogit.cli import guarded
from unlogit.images import View, open_images
from unlogit.methods import Inverter, known, open_inverter
from unlogit.methods.biggan.presets import preset
from unlogit.methods.nearest import NearestNeighbour
from unlogit.report import RESULTS, gather, summary, write_report
from unlogit.settings import Checked
from unlogit.training import TrainConfig, train

IMAGES, VALIDATION, HELD_OUT = "scenes:", "scenes:val", "scenes:test"
PHOTOS = f"folder:{photos.paths()[0].parent}"
Kind = Literal["robust", "standard"]
KINDS: tuple[Kind, ...] = ("robust", "standard")
Task = Literal[
    "fit-robust", "fit-standard", "photos", "invert-robust", "invert-standard", "floor", "questions", "report"
]
PHASES: tuple[tuple[tuple[Task, ...], ...], ...] = (
    # The robust classifier takes longer, and the photos need neither.
    (("fit-robust",), ("fit-standard", "photos")),
    (("invert-robust",), ("invert-standard",)),
    (("floor",), ("questions",)),
    (("report",),),
)
"""Phases one after the other; the parts of a phase run side by side, a process each, with its tasks in order."""
COMPARED = ("reconstruct", "quality", "training")
"""What is asked of all inverters and floors on many images; all else, of the two inverters of logits on fewer."""
SCENES, FURTHER, PHOTOGRAPHS = "Scenes", "Scenes, further questions", "Photos"
EPSILON = 4 / 255
"""Radius of the attacks that the robust classifier is trained on and both are measured with."""


@dataclass(frozen=True)
class Demo(Checked):
    """Options: folder, length of training, and tasks."""

    out: Path = Path("runs/demo")
    """Folder for the results: classifiers, inverters and the report."""
    num_images: int = 18_000
    """Number of training images seen by each inverter."""
    num_fit_images: int = 64_000
    """Number of training images seen by each classifier."""
    held_out: int = 1_000
    """Number of held-out images on which the report compares the inverters with the baselines."""
    asked: int = 256
    """Number of held-out images for all other analyses of the report."""
    task: tuple[Task, ...] = ()
    """Tasks to run, in this process alone. Default: all tasks, in two processes."""


def classifier_folder(demo: Demo, kind: Kind) -> Path:
    """Where a classifier lies."""
    return demo.out / kind / "classifier"


def classifier_config(demo: Demo, kind: Kind) -> FitConfig:
    """The fitting of one classifier."""
    objective: Literal["standard", "fgsm"] = "fgsm" if kind == "robust" else "standard"
    return FitConfig(
        out=classifier_folder(demo, kind), objective=objective, epsilon=EPSILON, num_images=demo.num_fit_images
    )


def inverter_config(demo: Demo, kind: Kind, layer: str) -> TrainConfig:
    """Return the training of one inverter: preset cpu-32, with features of the robust classifier."""
    settings = preset("cpu-32")
    discriminator = replace(
        settings.method.discriminator,
        network=f"small:{classifier_folder(demo, 'robust')}",
        maps=("pixels", "stages.0", "stages.1", "stages.2", "penultimate"),
    )
    run = TrainConfig(
        images=IMAGES,
        held_out=VALIDATION,
        classifier=f"small:{classifier_folder(demo, kind)}",
        out=demo.out / kind / layer,
        layer=layer,
        method=replace(settings.method, discriminator=discriminator),
        **settings.run,
    )
    # Validated at the end alone: the report measures the inverters on more images.
    return replace(
        run, num_images=demo.num_images, validate_every=demo.num_images, flip=False, cache=demo.out / "cache"
    )


def work(demo: Demo, task: Task) -> None:
    """One task, in this process."""
    if task != "report":
        torch.set_num_threads(1)
    match task:
        case "fit-robust":
            fit(classifier_config(demo, "robust"))
        case "fit-standard":
            fit(classifier_config(demo, "standard"))
        case "invert-robust":
            train(inverter_config(demo, "robust", "logits"))
        case "invert-standard":
            train(inverter_config(demo, "standard", "logits"))
        case "floor":
            train(inverter_config(demo, "robust", "label"))
        case "photos":
            gather(photographs(), chosen(), demo.out / RESULTS)
        case "questions":
            gather(further(demo), chosen(), demo.out / RESULTS)
        case "report":
            report(demo)


def side_by_side(demo: Demo, parts: tuple[tuple[Task, ...], ...]) -> None:
    """Run the parts of a phase at once, in a process each, their progress bars one below the other."""
    given = (
        f"--{field.name.replace('_', '-')}={getattr(demo, field.name)}"
        for field in fields(demo)
        if field.name != "task"
    )
    command = [sys.executable, __file__, *given, "--task"]
    started = [
        subprocess.Popen([*command, *tasks], env=os.environ | {"OMP_NUM_THREADS": "1", "TQDM_POSITION": str(index)})
        for index, tasks in enumerate(parts)
    ]
    try:
        codes = [process.wait() for process in started]
    except KeyboardInterrupt:
        # Ctrl-C has reached them too: they save and leave.
        for process in started:
            process.wait()
        raise
    if any(codes):
        raise SystemExit(max(codes))


def chosen() -> dict[str, dict[str, Any]]:
    """Return the analyses of each part of the report."""
    every = {name: analyses.get(name).Config() for name in analyses.names()}
    compared = {name: every.pop(name) for name in COMPARED}
    return {SCENES: compared, FURTHER: every, PHOTOGRAPHS: compared}


def further(demo: Demo) -> dict[str, Evidence]:
    """Return the two inverters of logits, on the images of all further questions."""
    inverters: dict[str, Inverter] = {k: open_inverter(str(demo.out / k / "logits" / "inverter")) for k in KINDS}
    return {
        FURTHER: Evidence(
            open_images(HELD_OUT),
            inverters,
            limit=demo.asked,
            others={"photographs": open_images(PHOTOS)},
            features=perceptual_network(inverters),
        )
    }


def photographs() -> dict[str, Evidence]:
    """Return the inverters of real classifiers on photos, where there are any."""
    inverters = {name: open_inverter(name) for name in known()}
    return {PHOTOGRAPHS: Evidence(open_images(PHOTOS), inverters)} if inverters else {}


def report(demo: Demo) -> None:
    """Write the report over both classifiers, and over the photos where the inverter of a real classifier is there."""
    asked = further(demo)
    inverters = dict(asked[FURTHER].inverters)
    robust = inverters["robust"].representation
    inverters["label only (robust)"] = open_inverter(str(demo.out / "robust" / "label" / "inverter"))
    view = inverter_config(demo, "robust", "logits")
    nearest = NearestNeighbour(robust, open_images(IMAGES), View(view.size), cache=view.cache)
    inverters["nearest (robust)"] = nearest
    runs: dict[str, Path] = {kind: demo.out / kind / "logits" for kind in KINDS}
    scenes = Evidence(
        open_images(HELD_OUT), inverters, limit=demo.held_out, runs=runs, features=asked[FURTHER].features
    )
    evidences = {SCENES: scenes} | asked | photographs()
    parts = write_report(demo.out, "What two classifiers kept", evidences, configs=chosen(), command="make demo")
    print(summary([part for part in parts if part.name != FURTHER]))
    print(f"\nreport: {demo.out / 'report.html'}")


def main(demo: Demo) -> None:
    """Do all of it, or the tasks that are asked for."""
    for task in demo.task:
        work(demo, task)
    if demo.task:
        return
    for parts in PHASES:
        if len(parts) > 1:
            side_by_side(demo, parts)
        else:
            main(replace(demo, task=parts[0]))


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Demo, description=__doc__))))
