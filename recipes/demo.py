"""The main job on built-in pictures: two classifiers, an inverter for each, and a report of what each kept.

Run:

    python recipes/demo.py            # or: make demo

A standard and an adversarially trained small classifier are fitted on scenes with known factors; then, for each, an
inverter of its logits and a label-only inverter. The two classifiers are worked on by two processes of one thread
each. Everything lands in runs/demo; the same command resumes it. Expected: see README.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro

from unlogit import photos
from unlogit.analyses import Evidence
from unlogit.classifiers import FitConfig, fit
from unlogit.images import View, open_images
from unlogit.inverters import Inverter, known, open_inverter
from unlogit.inverters.nearest import NearestNeighbour
from unlogit.networks import DiscriminatorConfig, GeneratorConfig
from unlogit.report import summary, write_report
from unlogit.training import TrainConfig, train

IMAGES, HELD_OUT = "scenes:", "scenes:test"
KINDS = ("robust", "standard")
TAPS = ("logits", "label")


@dataclass(frozen=True)
class Demo:
    """Where, how long, and which part of it."""

    out: Path = Path("runs/demo")
    pictures: int = 48_000
    """Training pictures for each inverter."""
    fit_pictures: int = 100_000
    """Training pictures for each classifier."""
    held_out: int = 1_000
    """Held-out pictures that the report measures on."""
    part: Literal["all", "robust", "standard", "report"] = "all"
    """One classifier's work alone, or the report alone."""


def classifier_config(demo: Demo, kind: str) -> FitConfig:
    """The fitting of one classifier."""
    objective: Literal["standard", "fgsm"] = "fgsm" if kind == "robust" else "standard"
    return FitConfig(out=demo.out / kind / "classifier", objective=objective, pictures=demo.fit_pictures)


def inverter_config(demo: Demo, kind: str, tap: str) -> TrainConfig:
    """The training of one inverter."""
    classifier = f"small:{demo.out / kind / 'classifier'}"
    return TrainConfig(
        images=IMAGES,
        held_out=HELD_OUT,
        classifier=classifier,
        out=demo.out / kind / tap,
        tap=tap,
        generator=GeneratorConfig(size=32, channels=12, noise=32, attention=None, spectral_norm=False),
        discriminator=DiscriminatorConfig(
            kind="projected",
            network=classifier,
            maps=("pixels", "stages.0", "stages.1", "stages.2", "penultimate"),
            widths=(16, 32, 64, 64),
        ),
        pictures=demo.pictures,
        batch=32,
        d_steps=1,
        learning_rate_g=4e-4,
        learning_rate_d=4e-4,
        betas=(0.0, 0.99),
        flip=False,
        ema_half_life=10_000,
        shared_fakes=True,
        log_every=1_600,
        checkpoint_every=16_000,
        validate_every=16_000,
        validation_pictures=256,
        cache=demo.out / "cache",
    )


def work(demo: Demo, kind: str) -> None:
    """Everything that belongs to one classifier."""
    fit(classifier_config(demo, kind))
    for tap in TAPS:
        train(inverter_config(demo, kind, tap))


def work_side_by_side(demo: Demo) -> None:
    """Both classifiers at once, in a process of one thread each, their progress bars one below the other."""
    command = [sys.executable, __file__, *(f"--{k}={v}" for k, v in vars(demo).items() if k != "part")]
    started = []
    for place, kind in enumerate(KINDS):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_POSITION": str(place)}
        started.append(subprocess.Popen([*command, f"--part={kind}"], env=environment))
    try:
        codes = [process.wait() for process in started]
    except KeyboardInterrupt:
        # Ctrl-C has reached them too: they save and leave.
        for process in started:
            process.wait()
        raise
    if any(codes):
        raise SystemExit(max(codes))


def report(demo: Demo) -> None:
    """The report over both classifiers, and over a few photos where the inverter of a real classifier is there."""
    inverters: dict[str, Inverter] = {k: open_inverter(str(demo.out / k / "logits" / "inverter")) for k in KINDS}
    robust = inverters["robust"].representation
    for kind in KINDS:
        inverters[f"label only, {kind}"] = open_inverter(str(demo.out / kind / "label" / "inverter"))
    view = inverter_config(demo, "robust", "logits")
    nearest = NearestNeighbour(robust, open_images(IMAGES), View(view.generator.size), cache=view.cache)
    inverters["nearest, robust"] = nearest
    runs = {kind: demo.out / kind / "logits" for kind in KINDS}
    evidences = {"Scenes": Evidence(open_images(HELD_OUT), inverters, limit=demo.held_out, runs=runs)}
    if "efficientnet_lite0" in known():
        real = {"efficientnet_lite0": open_inverter("efficientnet_lite0")}
        evidences["Photos"] = Evidence(open_images(f"folder:{photos.paths()[0].parent}"), real)
    parts = write_report(demo.out, "What two classifiers kept", evidences, command="make demo")
    print(summary(parts))
    print(f"\nreport: {demo.out / 'report.html'}")


def main(demo: Demo) -> None:
    """All of it, or the part that is asked for."""
    if demo.part == "all":
        work_side_by_side(demo)
    elif demo.part != "report":
        torch.set_num_threads(1)
        work(demo, demo.part)
    if demo.part in ("all", "report"):
        report(demo)


if __name__ == "__main__":
    main(tyro.cli(Demo, description=__doc__))
