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
    """Train an inverter for a frozen classifier. Run the same command again to resume."""

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
    """Images for the validation metrics and sample grids, as source:name; never used for training."""
    classifier: Classifier
    """Frozen classifier to invert, as source:name, e.g. packaged:efficientnet_lite0; in Python also a torch module."""
    out: Path
    """Folder of the run, for its configuration, metrics, samples, checkpoints and inverter."""
    layer: str = "logits"
    """Layer to invert: "logits", or another one of the classifier (see: unlogit list layers). "label", the one-hot
    predicted class, gives the label-only baseline."""
    method: Annotated[Any, tyro.conf.arg(name="")] = field(default_factory=BigGANConfig)
    """Configuration of the method, a `MethodConfig`; its type decides which method trains."""
    start: str | None = None
    """Trained inverter, by name or folder, whose weights initialise the run. Use it to continue a run of which only the
    inverter is left, or to adapt an inverter to a similar classifier. Not in the paper. Default: random weights."""
    num_images: Count = 1_000_000
    """Length of the run in training images seen, including a warm start."""
    batch: Count = 64
    """Images per step, or per discriminator step, over all processes (the paper's code base: 2048)."""
    decay: Share = 0.0
    """Final share of the run, 0 to 1, over which the learning rates fall linearly to zero."""
    crop: Literal["centre", "random"] = "centre"
    """Crop of the training images: "centre" is the centre square, "random" a random square of 0.5 to 1.0 of the area.
    With random crops the classifier runs on every image, and its outputs are not cached."""
    flip: bool = True
    """Mirror half of the training images."""
    ema_half_life: Rate = 500_000
    """Half-life, in images, of the averaged generator that is evaluated and saved; at most a tenth of the images
    seen so far."""
    ema_start: Whole = 0
    """Number of images seen before averaging begins; until then the averaged generator is the current one. 0 averages
    from the first step, by a half-life that grows with the images seen; otherwise the half-life is constant. The
    paper's code base begins after 40,000 generator steps."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the networks: "auto", "fp32" or "bf16". "auto" measures whether bf16 autocast is faster than fp32 on
    this device."""
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
    """Number of held-out images per validation."""
    best: str = "logit_error"
    """Validation metric that selects the inverter in best/: agreement, agreement5, diversity, layout_cosine,
    logit_cosine, logit_error, octave_excess, peak_excess, pixel_error, recognition or variety. If a resumed run changes
    it, the change applies from the next validation that is better than all earlier ones."""
    recognition: tuple[str, ...] = ("auto",)
    """Classifiers, as source:name, that take no part in training; validation measures whether they recognise the
    reconstructions. "auto" is the installed packaged ImageNet classifiers that take no part, or none for scenes. The
    option without a value turns this off."""
    track: Literal["tensorboard", "wandb", "trackio"] | None = None
    """Service that also receives metrics, sample grids and the configuration; needs the extra "track". Default:
    none."""
    cache: Path = Path("runs/cache")
    """Folder in which classifier outputs are cached between runs."""
    strict: bool = False
    """Stop at the first broken image instead of skipping up to 1 % of the images."""
    device: str = "auto"
    """Device to run on: "auto", "cpu", "cuda", "cuda:1" or "mps". "auto" is a CUDA GPU if there is one, else the
    CPU."""
    trust_code: bool = False
    """Allow opened folders to name classifiers that run code (python:). Sources named in the options are always
    allowed."""

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
