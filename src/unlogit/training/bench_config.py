"""Configuration of `unlogit bench`, from which its command line is built without importing torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unlogit.methods.biggan import DiscriminatorConfig, GeneratorConfig
from unlogit.settings import Checked, Count, Whole, Width


@dataclass(frozen=True)
class BenchConfig(Checked):
    """Measure the speed of a training step, reconstruction, reading images and the classifier on this machine."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    condition: Width = 1_000
    """Length of the representation, in numbers."""
    batch: Count = 64
    """Images per batch."""
    d_steps: Count = 2
    """Discriminator steps per generator step."""
    micro_batch: Whole = 0
    """Number of images that the discriminator processes at once; 0 is the whole batch."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the networks: "auto", "fp32" or "bf16". "auto" measures whether bf16 autocast is faster than fp32 on
    this device."""
    images: str | None = None
    """Images to measure the reading speed of, as source:name. Default: not measured."""
    classifier: str | None = None
    """Classifier to measure the speed of, as source:name. Default: not measured."""
    rounds: Count = 5
    """Number of timed repetitions of each measurement, after one warm-up repetition."""
    device: str = "auto"
    """Device to run on: "auto", "cpu", "cuda", "cuda:1" or "mps". "auto" is a CUDA GPU if there is one, else the
    CPU."""
    trust_code: bool = False
    """Allow opened folders to name classifiers that run code (python:). Sources named in the options are always
    allowed."""
