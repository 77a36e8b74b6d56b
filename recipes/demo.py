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

import tyro

IMAGES, HELD_OUT = "scenes:", "scenes:test"
KINDS = ("standard", "robust")


@dataclass(frozen=True)
class Demo:
    """Where, and how long."""

    out: Path = Path("runs/demo")
    pictures: int = 100_000
    """Training pictures for each inverter."""
    part: Literal["all", "standard", "robust", "report"] = "all"
    """One classifier's work alone, or the report alone."""


def inverter_config(demo: Demo, kind: str, tap: str) -> TrainConfig:
    """The training of one inverter."""
    classifier = demo.out / kind / "classifier"
    return TrainConfig(
        images=IMAGES,
        held_out=HELD_OUT,
        classifier=f"small:{classifier}",
        out=demo.out / kind / tap,
        tap=tap,
        generator=GeneratorConfig(size=32, channels=16, noise=32, attention=None, spectral_norm=False),
        discriminator=DiscriminatorConfig(
            kind="projected",
            network=f"small:{classifier}",
            maps=("stages.0", "stages.1", "stages.2", "penultimate"),
            widths=(32, 64, 64),
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
        validate_every=32_000,
        validation_pictures=256,
        cache=demo.out / "cache",
    )
