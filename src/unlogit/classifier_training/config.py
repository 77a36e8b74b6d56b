"""What a fitting is: every argument with its unit. The command line of `unlogit classify` is made from this."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unlogit.errors import UnlogitError
from unlogit.settings import Bounds, Checked, Count, Radius, Rate, Seed, Share, Weight, Width

if TYPE_CHECKING:
    from unlogit.classifier_training.objectives import Settings

BUILT_IN = "small:"
"""The start that is the built-in network with random weights."""


@dataclass(frozen=True)
class FitConfig(Checked):
    """Fit a classifier and report its accuracy, clean and attacked. The same command again resumes, or does nothing."""

    out: Path
    """The classifier's folder; it is then opened as small:OUT, or as fitted:OUT where it started from another."""
    images: str = "scenes:"
    """Labelled training images as source:name."""
    test_images: str = "scenes:test"
    """Images for the reported accuracies, never trained on."""
    start: str = "small:"
    """What is fitted: the built-in network with random weights, or any classifier, such as timm:resnet18 to fine-tune
    it, timm:resnet18?pretrained=false from scratch. It gets a new head where its classes are others."""
    labels: Path | None = None
    """Keep the start's own head: a JSON list of {"label": 0, "imagenet1k": 1} with the logit of each label
    of the images is."""
    objective: Literal["standard", "fgsm", "pgd", "trades", "llr"] = "standard"
    """Trained on images as they are, or on attacked ones: by one step from a random start (fast), or by several; or
    with a term beside the usual loss: TRADES (Zhang et al. 2019), local linearity (Qin et al. 2019)."""
    epsilon: Radius = 8 / 255
    """Radius of the attacks, training's and the reported one's, in the scale where pixels are in [0, 1]."""
    pgd_steps: Count = 7
    """Steps of the attack in the objectives pgd, trades and llr."""
    trades_beta: Weight = 6.0
    """Weight of the agreement in the objective trades."""
    llr_lambda: Weight = 4.0
    """Weight of the deviation from linear in the objective llr."""
    llr_mu: Weight = 3.0
    """Weight of the change foretold by the gradient in the objective llr."""
    layout_weight: Weight = 0.0
    """Weight of a linear head that reads the image's 4 x 4 colours from the logits, in training alone; 0 for none. Its
    loss is the share of their variance that it does not read."""
    layout_shuffled: bool = False
    """Let that head read the colours of another image of the batch, as a control."""
    num_images: Count = 64_000
    """Length of training in images seen."""
    target_accuracy: Share | None = None
    """Stop when the accuracy on num_test_images of the test images first reaches this, so that classifiers can be
    compared at equal accuracy; None trains to the end."""
    target_every: Count = 2_000
    """Images between two such measurements."""
    batch: Count = 32
    """Images a step, over all processes."""
    learning_rate: Rate = 0.05
    """Peak of the one cycle for the built-in network's convolutions, which Muon trains: by how much a step turns them.
    """
    learning_rate_rest: Rate = 2e-3
    """The same for all other parameters, and all of any other network, which AdamW trains."""
    weight_decay: Weight = 0.0
    """Weight decay of AdamW, on weights with more than one dimension."""
    label_smoothing: Share = 0.0
    """Share of the target that is spread evenly over all classes."""
    ema_half_life: Weight = 0.0
    """Half-life, in images, of the averaged weights that are evaluated and saved, at most a tenth of the images
    seen so far; 0 takes the weights themselves."""
    flip: bool = False
    """Mirror half of the training images."""
    crop: Literal["centre", "random", "shift"] = "centre"
    """Crop of the training images: "centre"; "random" squares of area 0.5 to 1.0; "shift" moves the centre crop by up
    to an eighth of the side, for small images."""
    size: Annotated[int, Bounds(8, 4_096)] = 32
    """Side in pixels of the images that are trained on and attacked, and of the built-in network's input, for which
    it is a power of two from 32 on; any other resizes inside to what it takes."""
    widths: tuple[Width, ...] = (24, 48, 96)
    """Channels of each stage of the built-in network."""
    blocks: Annotated[int, Bounds(1, 1_000)] = 1
    """Residual blocks a stage of the built-in network."""
    num_test_images: Count = 2_000
    """How many held-out images the clean accuracy is measured on."""
    num_attacked_images: Count = 500
    """How many of them are attacked."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the networks; "auto" measures whether bf16 autocast is faster than fp32."""
    seed: Seed = 0
    """Random seed of weights, attacks and the order of the images."""
    log_every: Count = 2_000
    """Images between two lines of metrics."""
    checkpoint_every: Count = 10_000
    """Images between two checkpoints."""
    strict: bool = False
    """Stop at the first broken image, instead of skipping up to 1 %."""
    device: str = "auto"
    """Device: "auto" is a CUDA GPU where there is one, and otherwise the CPU; or cpu, cuda, cuda:1, mps."""
    trust_code: bool = False
    """Allow opened folders to name classifiers that run code (python:). Sources named in the options always may."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels is not None and self.start == BUILT_IN:
            raise UnlogitError("labels keep the head of what is started from: give --start a classifier that has one")

    @property
    def spec(self) -> str:
        """What opens the classifier when it is fitted."""
        return f"{'small' if self.start.startswith(BUILT_IN) else 'fitted'}:{self.out}"

    def settings(self, epsilon: float) -> Settings:
        """Return the cost of the objective when its radius has grown to `epsilon`."""
        from unlogit.classifier_training.objectives import Settings

        return Settings(epsilon, self.pgd_steps, self.label_smoothing, self.trades_beta, self.llr_lambda, self.llr_mu)


@dataclass(frozen=True)
class FitLaunch(Checked):
    """A fitting, and on how many processes."""

    config: Annotated[FitConfig, tyro.conf.arg(name="")]
    processes: Count = 1
    """Processes on this machine: one a GPU, or on a CPU with few cores one a core. Each has its own batch statistics
    in batch-norms, so that their number changes the result a little."""
