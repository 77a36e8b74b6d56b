"""What a training run is: every argument with its unit. The command line of `unlogit train` is made from this."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unlogit.errors import UnlogitError
from unlogit.networks.discriminator import DiscriminatorConfig
from unlogit.networks.generator import GeneratorConfig


@dataclass(frozen=True)
class TrainConfig:
    """Train an inverter for a classifier. The same command again resumes the run.

    The defaults are the paper's way, with the values of the code base that the paper modified (compare_gan) where the
    paper's own were not published to us, but for the batch, which is one that a single device holds.
    """

    images: str
    """Training pictures as source:name, e.g. scenes: or 'parquet:train-*.parquet'."""
    held_out: str
    """Pictures for the validation figures and sample grids, never trained on."""
    classifier: str
    """The frozen classifier as source:name, e.g. packaged:efficientnet_lite0."""
    out: Path
    """The run's folder: config, metrics, samples, checkpoints and the inverter."""
    tap: str = "logits"
    """Which representation is inverted; "label" (one-hot of the predicted class) gives the label-only floor."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    pictures: int = 1_000_000
    """Length of the run in training pictures seen, the warm start's included."""
    batch: int = 64
    """Pictures a discriminator step, over all processes (paper's code base: 2048)."""
    d_steps: int = 2
    """Discriminator steps a generator step."""
    learning_rate_g: float = 1e-4
    learning_rate_d: float = 5e-4
    betas: tuple[float, float] = (0.0, 0.999)
    """Of Adam, for both networks."""
    crop: Literal["centre", "random"] = "centre"
    """"random": square crops of area 0.5-1.0; the classifier then runs on every picture, nothing can be cached."""
    flip: bool = True
    """Mirror half of the training pictures."""
    ema_half_life: float = 500_000
    """Half-life, in pictures, of the averaged generator that is evaluated and saved; at most a tenth of the pictures
    seen so far."""
    shared_fakes: bool = False
    """The G step judges the D step's own fakes again instead of drawing new noise: saves a pass through the generator
    and the frozen network. Needs d_steps = 1."""
    warm_start: int = 0
    """Pictures for which the generator alone is first fitted to the coarse layout; not in the paper."""
    layout_weight: float = 0.0
    """Weight of a layout term beside the adversarial loss; not in the paper, which has one loss alone."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """"auto" is bf16 autocast where the device computes in it."""
    seed: int = 0
    log_every: int = 2_000
    """Pictures between two lines of metrics."""
    checkpoint_every: int = 10_000
    """Pictures between two checkpoints."""
    validate_every: int = 20_000
    """Pictures between two validations, sample grids and saved inverters."""
    validation_pictures: int = 512
    cache: Path = Path("runs/cache")
    """Where classifier outputs are kept between runs."""

    def __post_init__(self) -> None:
        if self.shared_fakes and self.d_steps != 1:
            raise UnlogitError(f"shared fakes with d_steps {self.d_steps}: must be 1; set --d-steps 1")
        for name in ("pictures", "batch", "d_steps", "log_every", "checkpoint_every", "validate_every"):
            if getattr(self, name) < 1:
                raise UnlogitError(f"{name} {getattr(self, name)}: must be at least 1")

    @property
    def aids(self) -> tuple[str, ...]:
        """What beside the paper's single loss and its discriminator is used; told in every figure."""
        used = {
            "projected discriminator": self.discriminator.kind == "projected",
            "warm start": self.warm_start > 0,
            "layout term": self.layout_weight > 0,
            "representation in the first layer": self.generator.condition_first,
        }
        return tuple(name for name, on in used.items() if on)
