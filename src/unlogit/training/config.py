"""What a training run is: every argument with its unit. The command line of `unlogit train` is made from this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from torch import nn

from unlogit import registry
from unlogit.errors import UnlogitError, unknown
from unlogit.networks.discriminator import DiscriminatorConfig
from unlogit.networks.dosovitskiy import DecoderConfig
from unlogit.networks.generator import GeneratorConfig
from unlogit.networks.velocity import VelocityConfig
from unlogit.settings import Betas, Checked, Count, Rate, Seed, Several, Share, Weight, Whole
from unlogit.training.options import AdversarialComparisonConfig, ComparisonConfig, FlowConfig

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
    """Train an inverter for a classifier. The same command again resumes the run.

    The defaults are the paper's way, with the values of the code base that the paper modified (compare_gan) where the
    paper's own were not published to us, but for the batch, which is one that a single device holds.
    """

    images: str
    """Training pictures as source:name, e.g. scenes: or 'parquet:train-*.parquet'."""
    held_out: str
    """Pictures for the validation figures and sample grids, never trained on."""
    classifier: Annotated[str | nn.Module, tyro.conf.arg(constructor=str)]
    """The frozen classifier as source:name, e.g. packaged:efficientnet_lite0; in Python also a torch module."""
    out: Path
    """The run's folder: config, metrics, samples, checkpoints and the inverter."""
    tap: str = "logits"
    """Which representation is inverted; "label" (one-hot of the predicted class) gives the label-only floor."""
    method: str = "paper"
    """How it is learned, see: unlogit list methods. Options that name no method are the paper's or everyone's."""
    start: str | None = None
    """A trained inverter, a name or a folder, whose network the run begins with instead of random weights: to go on
    where only that is left of a run, or for a classifier that is not far from its own. Not in the paper."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    pictures: Count = 1_000_000
    """Length of the run in training pictures seen, the warm start's included."""
    batch: Count = 64
    """Pictures a discriminator step, over all processes (paper's code base: 2048)."""
    d_steps: Count = 2
    """Discriminator steps a generator step."""
    learning_rate_g: Rate = 1e-4
    learning_rate_d: Rate = 5e-4
    betas: Betas = (0.0, 0.999)
    """Of Adam, for both networks."""
    decay: Share = 0.0
    """Share of the run, at its end, over which the learning rates fall linearly to zero."""
    crop: Literal["centre", "random"] = "centre"
    """"random": square crops of area 0.5-1.0; the classifier then runs on every picture, nothing can be cached."""
    flip: bool = True
    """Mirror half of the training pictures."""
    ema_half_life: Rate = 500_000
    """Half-life, in pictures, of the averaged generator that is evaluated and saved; at most a tenth of the pictures
    seen so far."""
    shared_fakes: bool = False
    """The G step judges the D step's own fakes again instead of drawing new noise: saves a pass through the generator
    and the frozen network. Needs d_steps = 1."""
    translation: bool = False
    """Shift every picture that the discriminator sees, real or fake, by up to an eighth of its side (DiffAugment)."""
    warm_start: Whole = 0
    """Pictures for which the generator alone is first fitted to the coarse layout; not in the paper."""
    discriminator_first: Whole = 0
    """Pictures that the discriminator alone then learns from. A generator that has learnt already would else be led by
    one that has not."""
    layout_weight: Weight = 0.0
    """Weight of a layout term beside the adversarial loss; not in the paper, which has one loss alone."""
    spectral_weight: Weight = 0.0
    """Weight of the squared difference between the log power spectra of reconstructions and originals, against lattices
    and speckle; not in the paper."""
    reencoding_weight: Weight = 0.0
    """Weight of the squared error of the reconstruction's own standardised representation; not in the paper."""
    adversarial: Literal["hinge", "relativistic"] = "hinge"
    """The paper's loss, or R3GAN's of pairs of a real and a fake picture."""
    r1: Weight = 0.0
    """Gamma of R1 on the projected discriminator's pixel branch, taken every eighth step."""
    gradient_penalty: Weight = 0.0
    """Gamma of R1 and R2, the discriminator's squared slope at real and at fake pictures; R3GAN needs them."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """Shape of the networks of the methods dosovitskiy2016a and dosovitskiy2016b; their size is the generator's."""
    dosovitskiy2016a: AdversarialComparisonConfig = field(default_factory=AdversarialComparisonConfig)
    dosovitskiy2016b: ComparisonConfig = field(default_factory=ComparisonConfig)
    velocity: VelocityConfig = field(default_factory=VelocityConfig)
    """Shape of the network of the method flow; its size is the generator's."""
    flow: FlowConfig = field(default_factory=FlowConfig)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """"auto" is bf16 autocast where the device computes in it."""
    micro_batch: Whole = 0
    """Pictures that the discriminator holds at once, a process; the gradients are those of the whole batch, and the
    generator keeps less for its backward pass. For less memory and more time; 0 is the whole batch."""
    rollback: Whole = 0
    """How many times a run whose losses or weights are no longer finite goes back to its last checkpoint by itself and
    on with half the learning rates."""
    seed: Seed = 0
    log_every: Count = 2_000
    """Pictures between two lines of metrics."""
    checkpoint_every: Count = 10_000
    """Pictures between two checkpoints."""
    validate_every: Count = 20_000
    """Pictures between two validations, sample grids and saved inverters."""
    validation_pictures: Several = 512
    best: str = "logit_error"
    """Validation metric by which best/ is chosen: agreement, agreement5, diversity, layout_cosine, logit_cosine,
    logit_error, octave_excess, peak_excess, pixel_error, recognition or variety. A change on resumption applies from
    the next validation that is better than all earlier ones."""
    recognition: tuple[str, ...] = ("auto",)
    """Classifiers, as source:name, that take no part in training and measure at validation whether they recognise
    reconstructions. "auto" is the packaged ImageNet classifiers that are installed and take no part, or none for
    scenes; the option without a value turns it off."""
    cache: Path = Path("runs/cache")
    """Where classifier outputs are kept between runs."""
    strict: bool = False
    """Stop at the first broken picture, instead of skipping up to 1 %."""
    trust_code: bool = False
    """Let the folders that are opened name classifiers that run code (python:). What is named here itself always may.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in (known := registry.names("unlogit.training.methods")):
            raise unknown("method", self.method, known)
        if self.best not in SCORES:
            raise unknown("validation metric of --best", self.best, SCORES)
        if self.reencoding_weight and self.tap == "label":
            raise UnlogitError("re-encoding weight with tap 'label': a predicted class has no gradient; set it to 0")
        if self.shared_fakes and self.d_steps != 1:
            raise UnlogitError(f"shared fakes with d_steps {self.d_steps}: must be 1; set --d-steps 1")
        if self.micro_batch and self.method != "paper":
            raise UnlogitError(f"micro_batch {self.micro_batch} with method {self.method}: only 'paper' has it; set 0")

    @property
    def turns(self) -> tuple[int, int]:
        """Pictures seen where what a step does changes: the warm start's end, and that of the discriminator's."""
        return self.warm_start, self.warm_start + self.discriminator_first

    @property
    def size(self) -> int:
        """Side of the reconstructions in pixels, whatever the method."""
        return self.generator.size

    @property
    def aids(self) -> tuple[str, ...]:
        """What beside the paper's single loss and its discriminator is used; told in every figure."""
        if self.method != "paper":
            return (f"method {self.method}", *([STARTED] if self.start else []))
        used = {
            STARTED: self.start is not None,
            "projected discriminator": self.discriminator.kind == "projected",
            "warm start": self.warm_start > 0,
            "layout term": self.layout_weight > 0,
            "spectral term": self.spectral_weight > 0,
            "pixel branch": self.discriminator.kind == "projected" and self.discriminator.pixel_channels > 0,
            "translation": self.translation,
            "representation in the first layer": self.generator.condition_first,
            "re-encoding term": self.reencoding_weight > 0,
            "relativistic loss": self.adversarial == "relativistic",
            "gradient penalty": self.gradient_penalty > 0,
        }
        return tuple(name for name, on in used.items() if on)
