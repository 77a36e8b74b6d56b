"""Configuration of `unlogit bench`, from which its command line is built without importing torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unlogit.methods.biggan import DiscriminatorConfig, GeneratorConfig
from unlogit.settings import Checked, Count, Whole, Width


@dataclass(frozen=True)
class BenchConfig(Checked):
    """Measure a training step, reconstruction, the data path and the classifier on this machine."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    condition: Width = 1_000
    """Length of the representation."""
    batch: Count = 64
    """Images per batch."""
    d_steps: Count = 2
    """Discriminator steps per generator step."""
    micro_batch: Whole = 0
    """Number of images that the discriminator holds at once; 0 is the whole batch."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the networks; "auto" measures whether bf16 autocast is faster than fp32."""
    images: str | None = None
    """Images as source:name, to measure how fast they are read; None leaves it out."""
    classifier: str | None = None
    """A classifier as source:name, to measure how fast it runs; None leaves it out."""
    rounds: Count = 5
    """Number of timed repetitions of each measurement, after one warm-up."""
    device: str = "auto"
    """Device: "auto" is a CUDA GPU where there is one, and otherwise the CPU; or cpu, cuda, cuda:1, mps."""
    trust_code: bool = False
    """Allow opened folders to name classifiers that run code (python:). Sources named in the options always may."""
