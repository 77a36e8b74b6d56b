"""The main job on built-in pictures: two classifiers, an inverter for each, and a report of what each kept.

Run:

    python recipes/demo.py            # or: make demo

A standard and an adversarially trained small classifier are fitted on scenes with known factors; then, for each, an
inverter of its logits and a label-only inverter. Two processes of one thread each work side by side, one a classifier.
Everything lands in runs/demo; the same command resumes it. Expected: see README.

All inverters are trained against the same discriminator, with heads on the robust classifier's features: they differ
in what they are given, and in nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import tyro

from unlogit import analyses, photos
from unlogit.analyses import Evidence, ruler
from unlogit.classifiers import FitConfig, fit
from unlogit.cli import guarded
from unlogit.images import View, open_images
from unlogit.inverters import Inverter, known, open_inverter
from unlogit.inverters.nearest import NearestNeighbour
from unlogit.networks import DiscriminatorConfig, GeneratorConfig
from unlogit.report import summary, write_report
from unlogit.training import TrainConfig, train

IMAGES, HELD_OUT = "scenes:", "scenes:test"
PHOTOS = f"folder:{photos.paths()[0].parent}"
Kind = Literal["robust", "standard"]
KINDS: tuple[Kind, ...] = ("robust", "standard")
TAPS = ("logits", "label")
COMPARED = ("reconstruct", "quality", "training")
"""What is asked of all inverters and floors on many pictures; all else, of the two inverters of logits on fewer."""
SCENES, FURTHER = "Scenes", "Scenes, further questions"
EPSILON = 4 / 255
"""Radius of the attacks that the robust classifier is trained on and both are measured with."""


@dataclass(frozen=True)
class Demo:
    """Where, how long, and which part of it."""

    out: Path = Path("runs/demo")
    pictures: int = 20_000
    """Training pictures for each inverter."""
    fit_pictures: int = 64_000
    """Training pictures for each classifier."""
    held_out: int = 1_000
    """Held-out pictures that the report compares the inverters and floors on."""
    asked: int = 256
    """Held-out pictures of all its other questions."""
    part: Literal["all", "fit", "invert", "report"] = "all"
    """One part of the work alone."""
    kinds: tuple[Kind, ...] = KINDS
    """Whose classifier is fitted or inverted; more than one are worked on side by side."""


def classifier_folder(demo: Demo, kind: Kind) -> Path:
    """Where a classifier lies."""
    return demo.out / kind / "classifier"


def classifier_config(demo: Demo, kind: Kind) -> FitConfig:
    """The fitting of one classifier."""
    objective: Literal["standard", "fgsm"] = "fgsm" if kind == "robust" else "standard"
    return FitConfig(
        out=classifier_folder(demo, kind), objective=objective, epsilon=EPSILON, pictures=demo.fit_pictures
    )


def inverter_config(demo: Demo, kind: Kind, tap: str) -> TrainConfig:
    """The training of one inverter."""
    return TrainConfig(
        images=IMAGES,
        held_out=HELD_OUT,
        classifier=f"small:{classifier_folder(demo, kind)}",
        out=demo.out / kind / tap,
        tap=tap,
        generator=GeneratorConfig(size=32, channels=12, noise=32, attention=None, spectral_norm=False),
        discriminator=DiscriminatorConfig(
            kind="projected",
            network=f"small:{classifier_folder(demo, 'robust')}",
            maps=("pixels", "stages.0", "stages.1", "stages.2", "penultimate"),
            widths=(32, 32, 64, 64),
        ),
        pictures=demo.pictures,
        batch=16,
        d_steps=1,
        learning_rate_g=4e-4,
        learning_rate_d=4e-4,
        betas=(0.0, 0.99),
        flip=False,
        ema_half_life=10_000,
        shared_fakes=True,
        layout_weight=5.0,
        log_every=800,
        checkpoint_every=16_000,
        validate_every=16_000,
        validation_pictures=256,
        cache=demo.out / "cache",
    )


def work(demo: Demo, kind: Kind) -> None:
    """One part of what belongs to one classifier, in this process."""
    torch.set_num_threads(1)
    if demo.part == "fit":
        fit(classifier_config(demo, kind))
    else:
        for tap in TAPS:
            train(inverter_config(demo, kind, tap))


def side_by_side(demo: Demo, part: str) -> None:
    """One part for both classifiers at once, in a process each, their progress bars one below the other."""
    given = (f"--{name.replace('_', '-')}={getattr(demo, name)}" for name in ("out", "pictures", "fit_pictures"))
    command = [sys.executable, __file__, *given, f"--part={part}", "--kinds"]
    started = [
        subprocess.Popen([*command, kind], env=os.environ | {"OMP_NUM_THREADS": "1", "TQDM_POSITION": str(place)})
        for place, kind in enumerate(demo.kinds)
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


def report(demo: Demo) -> None:
    """The report over both classifiers, and over a few photos where the inverter of a real classifier is there."""
    inverters: dict[str, Inverter] = {k: open_inverter(str(demo.out / k / "logits" / "inverter")) for k in KINDS}
    robust = inverters["robust"].representation
    for kind in KINDS:
        inverters[f"label only ({kind})"] = open_inverter(str(demo.out / kind / "label" / "inverter"))
    view = inverter_config(demo, "robust", "logits")
    nearest = NearestNeighbour(robust, open_images(IMAGES), View(view.generator.size), cache=view.cache)
    inverters["nearest (robust)"] = nearest
    runs: dict[str, Path] = {kind: demo.out / kind / "logits" for kind in KINDS}
    features = ruler(inverters)
    scenes, photographs = open_images(HELD_OUT), open_images(PHOTOS)
    every = {name: analyses.get(name).Config() for name in analyses.names()}
    compared = {name: every.pop(name) for name in COMPARED}
    evidences = {
        SCENES: Evidence(scenes, inverters, limit=demo.held_out, runs=runs, features=features),
        FURTHER: Evidence(
            scenes,
            {kind: inverters[kind] for kind in KINDS},
            limit=demo.asked,
            others={"photographs": photographs},
            features=features,
        ),
    }
    if known():
        evidences["Photos"] = Evidence(photographs, {name: open_inverter(name) for name in known()})
    configs = dict.fromkeys(evidences, compared) | {FURTHER: every}
    parts = write_report(demo.out, "What two classifiers kept", evidences, configs=configs, command="make demo")
    print(summary([part for part in parts if part.name != FURTHER]))
    print(f"\nreport: {demo.out / 'report.html'}")


def main(demo: Demo) -> None:
    """All of it, or the part that is asked for."""
    for part in ("fit", "invert"):
        if demo.part in ("all", part):
            if len(demo.kinds) == 1:
                work(replace(demo, part=part), demo.kinds[0])
            else:
                side_by_side(demo, part)
    if demo.part in ("all", "report"):
        report(demo)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Demo, description=__doc__))))
