"""Configuration of the paper's method: networks, learning rates, and what deviates from the paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from unlogit.errors import UnlogitError
from unlogit.methods._config import MethodConfig, check_size
from unlogit.settings import Betas, Bounds, Channels, Checked, Count, Rate, Weight, Whole, Width

# Widths of the feature maps from 4x4 up, in units of `channels`. 128: compare_gan; 64: BigGAN's plan at that size.
WIDTHS = {32: (8, 8, 4, 2), 64: (16, 16, 8, 4, 2), 128: (16, 16, 8, 4, 2, 1)}
FIRST_LAYER = "representation in the first layer"
"""Name of the deviation that leaves noise with little effect."""


@dataclass(frozen=True)
class GeneratorConfig(Checked):
    """Shape of the generator."""

    BASIC: ClassVar = ("size", "channels")

    size: Width = 64
    """Side of the reconstruction in pixels: 32, 64 or 128."""
    channels: Channels = 96
    """Width unit: each block has a multiple of this number of channels. The paper's code base uses 96."""
    noise: Width = 120
    """Length of the noise vector, which is split evenly over the first layer and the blocks."""
    embedding: Width | None = None
    """Length of a linear embedding of the representation, shared by all layers; None feeds the whole representation to
    every layer."""
    hidden: Width | None = 32
    """Width of the two-layer MLPs of conditional batch norm; None is BigGAN's linear, class-conditional form."""
    condition_first: bool = False
    """Feed the representation to the first layer too, which in the paper reads noise alone. Needed after a warm start,
    which teaches the generator to ignore noise: channel modulation alone then gives all images the same geometry."""
    map: tuple[Width, Width, Width] | None = None
    """Shape C x H x W of the spatial map that a layer with "?reduce=flatten" flattens into its representation. The map
    enters the generator before the first block of at least its resolution, and its mean over positions conditions the
    batch norms; not in the paper. None treats the representation as a vector."""
    attention: Width | None = 32
    """Resolution of the self-attention layer; None for none."""
    spectral_norm: bool = True
    """Spectral normalisation of convolutions and the first layer (not of the conditioning)."""

    @classmethod
    def prefix(cls) -> str:
        return "generator."

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.size, WIDTHS)
        parts = len(WIDTHS[self.size])
        if self.noise % parts:
            raise UnlogitError(
                f"generator.noise {self.noise} at {self.size} px: must be a multiple of {parts}, one chunk per layer"
            )
        if self.map is not None and max(self.map[1:]) > self.size // 2:
            raise UnlogitError(
                f"generator.map {self.map}: sides must be at most {self.size // 2}, half of generator.size; "
                "choose a later layer"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(self.channels * w for w in WIDTHS[self.size])


@dataclass(frozen=True)
class DiscriminatorConfig(Checked):
    """Kind and shape of the discriminator."""

    BASIC: ClassVar = ("kind", "channels", "network")

    kind: Literal["paper", "projected"] = "paper"
    """Kind of discriminator: "paper" is BigGAN's, trained on pixels; "projected" has trained heads on the feature maps
    of a frozen network."""
    channels: Channels = 96
    """Width unit of the paper's discriminator: each block has a multiple of this number of channels. The paper's code
    base uses 96."""
    attention: Width | None = 32
    """Resolution of the self-attention layer of the paper's discriminator; None for none."""
    scale_projection: bool = False
    """Divide the paper's projection of the representation by the square root of its length K. Without it, the
    projection of a thousand standardised logits is some hundred times the unconditional term and dominates the hinge
    loss."""
    network: str = "packaged:efficientnet_lite0?size=96"
    """Frozen network of the projected discriminator: a classifier as source:name, which resizes images to its input
    size."""
    second_network: str | None = None
    """Second frozen network of the projected discriminator, as source:name, with its own heads on the same maps. Other
    networks often do not recognise reconstructions that satisfy one network alone. Default: none."""
    maps: tuple[str, ...] = ("pixels", "blocks.1", "blocks.2", "blocks.4", "blocks.6", "penultimate")
    """Inputs of the projected discriminator's heads, from fine to coarse: modules of the network by name, "pixels", and
    "penultimate" as a vector."""
    widths: tuple[Width, ...] = (32, 64, 64, 128, 128)
    """Channels after the fixed random mixing layers of the projected discriminator, one number per spatial map."""
    pixel_channels: Annotated[int, Bounds(0, 4_096)] = 0
    """Width of the projected discriminator's branch of trained convolutions on pixels, 0 for none. A frozen network is
    insensitive to lattices and speckle."""
    pixel_weight: Weight = 1.0
    """Weight of the pixel branch's loss, relative to the mean loss of the other heads."""
    head_spectral_norm: bool = True
    """Spectral normalisation of the projected discriminator's heads. Without it the discriminator separates real from
    generated images far better and needs a larger --layout-weight."""

    @classmethod
    def prefix(cls) -> str:
        return "discriminator."


@dataclass(frozen=True)
class BigGANConfig(MethodConfig):
    """BigGAN conditioned on the representation (Teterwak et al. 2021).

    The defaults have the paper's losses and networks, but a batch that fits one device and a thousandth of the paper's
    length: they are for trials. The presets paper-64 and paper-128 have all of the paper's settings. Where the paper
    states no value, the defaults are those of compare_gan, the code base that the paper modified.
    """

    NAME: ClassVar[str] = "biggan"
    BASIC: ClassVar = ("generator", "discriminator")

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    d_steps: Count = 2
    """Discriminator steps per generator step."""
    learning_rate_g: Rate = 1e-4
    """Learning rate of the generator."""
    learning_rate_d: Rate = 5e-4
    """Learning rate of the discriminator."""
    betas: Betas = (0.0, 0.999)
    """Betas of Adam, for both networks, each in [0, 1)."""
    shared_fakes: bool = False
    """Let the generator step score the discriminator step's generated images again instead of drawing new noise. Saves
    a pass through the generator and the frozen network; needs --d-steps 1."""
    translation: bool = False
    """Shift every image that the discriminator sees, real or fake, by up to an eighth of its side (DiffAugment)."""
    warm_start: Whole = 0
    """Number of images on which the generator alone first learns the coarse layout; not in the paper."""
    discriminator_first: Whole = 0
    """Number of images after the warm start on which the discriminator alone trains, so that a trained generator does
    not follow an untrained discriminator."""
    layout_weight: Weight = 0.0
    """Weight of the layout loss, which compares coarse colours; not in the paper, which has the adversarial loss
    alone."""
    spectral_weight: Weight = 0.0
    """Weight of the squared difference between the log power spectra of reconstructions and originals, against lattices
    and speckle; not in the paper."""
    reencoding_weight: Weight = 0.0
    """Weight of the squared error of the reconstruction's own standardised representation; not in the paper. This loss
    trains on the inverted classifier, so that class and logit scores are not independent of it."""
    adversarial: Literal["hinge", "relativistic"] = "hinge"
    """Adversarial loss: "hinge" is the paper's, "relativistic" is R3GAN's, on pairs of a real and a generated image."""
    r1: Weight = 0.0
    """Gamma of the R1 penalty on the projected discriminator's pixel branch, computed at every eighth step."""
    gradient_penalty: Weight = 0.0
    """Gamma of the R1 and R2 penalties, the discriminator's squared gradient at real and at generated images; R3GAN's
    loss needs it."""
    micro_batch: Whole = 0
    """Number of images that the discriminator processes at once, per process; 0 is the whole batch. Smaller values need
    less memory and more time, and give the same gradients."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shared_fakes and self.d_steps != 1:
            raise UnlogitError(f"shared fakes with d_steps {self.d_steps}: must be 1; set --d-steps 1")

    def check(self, layer: str) -> None:
        if self.reencoding_weight and layer == "label":
            raise UnlogitError(
                "--reencoding-weight with layer 'label': must be 0, since a predicted class has no gradient"
            )

    @property
    def size(self) -> int:
        return self.generator.size

    @property
    def turns(self) -> tuple[int, ...]:
        return self.warm_start, self.warm_start + self.discriminator_first

    @property
    def loss_d_range(self) -> tuple[float, float]:
        return (0.0, -2.0) if self.adversarial == "hinge" else super().loss_d_range

    @property
    def deviations(self) -> tuple[str, ...]:
        used = {
            "projected discriminator": self.discriminator.kind == "projected",
            "warm start": self.warm_start > 0,
            "layout term": self.layout_weight > 0,
            "spectral term": self.spectral_weight > 0,
            "pixel branch": self.discriminator.kind == "projected" and self.discriminator.pixel_channels > 0,
            "second feature network": self.discriminator.kind == "projected"
            and self.discriminator.second_network is not None,
            "translation": self.translation,
            FIRST_LAYER: self.generator.condition_first,
            "re-encoding term": self.reencoding_weight > 0,
            "relativistic loss": self.adversarial == "relativistic",
            "gradient penalty": self.gradient_penalty > 0,
            "scaled projection": self.discriminator.kind == "paper" and self.discriminator.scale_projection,
            "spatial map in the generator": self.generator.map is not None,
        }
        return tuple(name for name, is_used in used.items() if is_used)


CONFIG = BigGANConfig
