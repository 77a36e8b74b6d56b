"""Figure 5 of the paper: from one noise to another, the logits the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from unlogit.analyses import AnalysisConfig, Evidence, Figure, Result
from unlogit.analyses._evidence import Images
from unlogit.analyses._paths import report_paths
from unlogit.drawing import inverter_blocks, sheet, style
from unlogit.manipulate import interpolate, resample
from unlogit.methods import LearnedInverter
from unlogit.settings import Count, Several

TITLE = "A path through the noise"
QUESTION = "How far and how evenly does the image change on a path between two noises, with the same logits?"


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Shape of the path and number of its steps."""

    path: Literal["arc", "line"] = "arc"
    """Shape of the path: every point of the "arc" is as likely a noise vector as its ends; the "line" is the paper's,
    and noise vectors at its middle have a smaller norm than in training."""
    steps: Several = 8
    """Number of steps along the path."""
    num_images: Several = 96
    """Number of images measured."""
    shown: Count = 3
    """Number of paths shown."""


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield images along the path, its steps, length and evenness; nothing if no inverter has noise."""
    # Trained inverters have noise from N(0, 1); the noise of pixel optimisation is the initial image.
    names = [name for name in evidence.noisy() if isinstance(evidence.inverters[name], LearnedInverter)]
    which = evidence.sample(config.num_images, evidence.seed)
    amounts = [step / config.steps for step in range(config.steps + 1)]
    points = {name: _walk(config, evidence, name, which, amounts) for name in names}
    if not points:
        return
    blocks = inverter_blocks(
        evidence.inverters,
        {"original": evidence.originals.bytes[which[: config.shown]]},
        {
            name: {f"{a:.0%}": p.bytes[: config.shown] for a, p in zip(amounts, points[name], strict=True)}
            for name in points
        },
    )
    caption = f"One row per image: from its first noise to its second one, along the {config.path} between them."
    with style():
        yield Figure("images", "From noise to noise", caption, sheet(blocks))
    yield from report_paths(evidence, points, amounts, "noise_path", "way from noise to noise")


def _walk(config: Config, evidence: Evidence, name: str, which: torch.Tensor, amounts: list[float]) -> list[Images]:
    raw = evidence.raw(name)[which]
    first, second = (evidence.noise(evidence.inverters[name], len(raw), 0, draw) for draw in (0, 1))
    assert first is not None and second is not None
    way = resample if config.path == "arc" else interpolate
    return [evidence.invert(name, raw, way(first, amount, second)) for amount in amounts]
