"""Configuration of a training run, from which the command line of `unlogit train` is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from unlogit.errors import unknown
from unlogit.methods.biggan.config import BigGANConfig
from unlogit.settings import Checked, Count, Rate, Seed, Several, Share, Whole

if TYPE_CHECKING:
    from torch import nn

    Classifier = str | nn.Module
else:
    # The type on the command line, which is built without importing torch.
    Classifier = str

STARTED = "started from another inverter"

SCORES: dict[str, Callable[[float], float]] = {
    **dict.fromkeys(("agreement", "agreement5", "logit_cosine", "layout_cosine", "diversity", "recognition"), float),
    **dict.fromkeys(("logit_error", "pixel_error", "peak_excess"), lambda value: -value),
    "octave_excess": lambda value: -abs(value),
    "variety": lambda value: -abs(value - 1),
}
"""By validation metric, a score that is higher for a better inverter."""


@dataclass(frozen=True)
class TrainConfig(Checked):
    """Train an inverter for a frozen classifier. Run the same command again to resume.

    The defaults match the paper, but for the batch, which a single device holds, and take days on one GPU.
    """

    BASIC: ClassVar = (
        "images",
        "held_out",
        "classifier",
        "out",
        "layer",
        "method",
        "start",
        "num_images",
        "batch",
        "seed",
        "device",
    )

    images: str
    """Training images as source:name, e.g. scenes: or 'parquet:train-*.parquet'."""
    held_out: str
    """Images for the validation metrics and sample grids, never trained on."""
    classifier: Classifier
    """The frozen classifier as source:name, e.g. packaged:efficientnet_lite0; in Python also a torch module."""
    out: Path
    """The run's folder: config, metrics, samples, checkpoints and the inverter."""
    layer: str = "logits"
    """Representation that is inverted; "label" (one-hot of the predicted class) gives the label-only baseline."""
    method: Annotated[Any, tyro.conf.arg(name="")] = field(default_factory=BigGANConfig)
    """Configuration of the method, a `MethodConfig`; its type decides which method trains."""
    start: str | None = None
    """A trained inverter, a name or a folder, whose weights the run begins with instead of random ones: to continue a
    run of which only the inverter is left, or for a similar classifier. Not in the paper."""
    num_images: Count = 1_000_000
    """Length of the run in training images seen, including the warm start."""
    batch: Count = 64
    """Images per discriminator step, over all processes (paper's code base: 2048)."""
    decay: Share = 0.0
    """Share of the run, at its end, over which the learning rates fall linearly to zero."""
    crop: Literal["centre", "random"] = "centre"
    """Crop of the training images: "centre", or "random" squares of area 0.5 to 1.0. With random crops the classifier
    runs on every image, and nothing can be cached."""
    flip: bool = True
    """Mirror half of the training images."""
    ema_half_life: Rate = 500_000
    """Half-life, in images, of the averaged generator that is evaluated and saved; at most a tenth of the images
    seen so far."""
    ema_start: Whole = 0
    """Number of images seen before averaging begins; until then the averaged generator is the current one. The paper's
    code base begins after 40,000 generator steps; with a start the half-life is constant from there on. 0 averages from
    the first step, by a half-life that grows with the images seen."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the networks; "auto" measures whether bf16 autocast is faster than fp32."""
    rollback: Whole = 0
    """Maximum number of times that a run with non-finite losses or weights returns to its last checkpoint and continues
    with half the learning rates."""
    seed: Seed = 0
    """Random seed of weights, noise and the order of the images."""
    log_every: Count = 2_000
    """Number of images between two lines of metrics."""
    checkpoint_every: Count = 10_000
    """Number of images between two checkpoints."""
    validate_every: Count = 20_000
    """Number of images between two validations, sample grids and saved inverters."""
    num_validation_images: Several = 512
    """Number of held-out images of a validation."""
    best: str = "logit_error"
    """Validation metric by which best/ is chosen: agreement, agreement5, diversity, layout_cosine, logit_cosine,
    logit_error, octave_excess, peak_excess, pixel_error, recognition or variety. A change on resumption applies from
    the next validation that is better than all earlier ones."""
    recognition: tuple[str, ...] = ("auto",)
    """Classifiers, as source:name, that take no part in training and measure at validation whether they recognise
    reconstructions. "auto" is the packaged ImageNet classifiers that are installed and take no part, or none for
    scenes; the option without a value turns it off."""
    track: Literal["tensorboard", "wandb", "trackio"] | None = None
    """Service that also receives metrics, sample grids and the configuration (extra "track")."""
    cache: Path = Path("runs/cache")
    """Folder where classifier outputs are kept between runs."""
    strict: bool = False
    """Stop at the first broken image, instead of skipping up to 1 %."""
    device: str = "auto"
    """Device: "auto" is a CUDA GPU where there is one, and otherwise the CPU; or cpu, cuda, cuda:1, mps."""
    trust_code: bool = False
    """Allow opened folders to name classifiers that run code (python:). Sources named in the options always may."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.best not in SCORES:
            raise unknown("validation metric of --best", self.best, SCORES)
        self.method.check(self.layer)

    @property
    def size(self) -> int:
        """Side of the reconstructions in pixels."""
        return self.method.size

    @property
    def deviations(self) -> tuple[str, ...]:
        """Deviations from the paper's single loss and discriminator, shown with every figure."""
        return (*([STARTED] if self.start else []), *self.method.deviations)
