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
    """Train a classifier and report its accuracy on clean and adversarial images."""

    out: Path
    """Folder of the trained classifier, which small:OUT opens, or fitted:OUT if --start names another classifier."""
    images: str = "scenes:"
    """Labelled training images as source:name, e.g. scenes: or 'parquet:train-*.parquet'."""
    test_images: str = "scenes:test"
    """Labelled test images for the reported accuracies, as source:name; never used for training."""
    start: str = "small:"
    """Classifier to train, as source:name: small: for the built-in network with random weights, timm:resnet18 to
    fine-tune pretrained weights, timm:resnet18?pretrained=false for another network from scratch. It gets a new head if
    its classes differ from those of the images."""
    labels: Path | None = None
    """JSON file that keeps the head of --start: a list of {"label": 0, "imagenet1k": 1}, with the index of the logit
    for each label of the images. Default: a new head, if classes differ."""
    objective: Literal["standard", "fgsm", "pgd", "trades", "llr"] = "standard"
    """Training objective: "standard" trains on clean images; "fgsm" on adversarial images of one step from a random
    start; "pgd" on those of several steps; "trades" (Zhang et al. 2019) and "llr" (local linearity, Qin et al. 2019)
    add a regularisation term to the loss of clean images."""
    epsilon: Radius = 8 / 255
    """L-inf radius of the attacks in training and evaluation, for pixels in [0, 1]; a fraction or a decimal number."""
    pgd_steps: Count = 7
    """Number of attack steps of the objectives "pgd", "trades" and "llr"."""
    trades_beta: Weight = 6.0
    """Weight of the KL divergence between clean and adversarial predictions in the objective "trades"."""
    llr_lambda: Weight = 4.0
    """Weight of the deviation of the loss from its linear approximation in the objective "llr"."""
    llr_mu: Weight = 3.0
    """Weight of the change that the linear approximation predicts in the objective "llr"."""
    layout_weight: Weight = 0.0
    """Weight of an auxiliary loss, 0 for none: a linear head, used in training only, predicts the image's 4 x 4 average
    colours from the logits. The loss is the share of their variance that it does not explain."""
    layout_shuffled: bool = False
    """Train the auxiliary head on the colours of another image of the batch, as a control."""
    num_images: Count = 64_000
    """Length of training in images seen."""
    target_accuracy: Share | None = None
    """Accuracy, 0 to 1, on --num-test-images test images at which training stops, to compare classifiers at equal
    accuracy. Default: train for all of --num-images."""
    target_every: Count = 2_000
    """Number of images between two measurements for --target-accuracy."""
    batch: Count = 32
    """Images per step, over all processes."""
    learning_rate: Rate = 0.05
    """Peak learning rate of the one-cycle schedule for the convolutions of the built-in network, which Muon trains."""
    learning_rate_rest: Rate = 2e-3
    """Peak learning rate for all other parameters, and for all parameters of any other network, which AdamW trains."""
    weight_decay: Weight = 0.0
    """Weight decay of AdamW, applied to weights with more than one dimension."""
    label_smoothing: Share = 0.0
    """Share of the target probability, 0 to 1, that is spread evenly over all classes."""
    ema_half_life: Weight = 0.0
    """Half-life, in images, of the moving average of the weights that is evaluated and saved; at most a tenth of the
    images seen so far. 0 evaluates and saves the current weights."""
    flip: bool = False
    """Mirror half of the training images."""
    crop: Literal["centre", "random", "shift"] = "centre"
    """Crop of the training images: "centre" is the centre square; "random" a random square of 0.5 to 1.0 of the area;
    "shift" the centre square moved by up to an eighth of its side, for small images."""
    size: Annotated[int, Bounds(8, 4_096)] = 32
    """Side in pixels of the images in training and attacks, 8 to 4096. For the built-in network it is the input size, a
    power of two of at least 32; other networks resize to their own input size."""
    widths: tuple[Width, ...] = (24, 48, 96)
    """Channels of each stage of the built-in network."""
    blocks: Annotated[int, Bounds(1, 1_000)] = 1
    """Residual blocks per stage of the built-in network."""
    num_test_images: Count = 2_000
    """Number of test images for the clean accuracy."""
    num_attacked_images: Count = 500
    """Number of these images that are attacked, for the adversarial accuracy."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the networks: "auto", "fp32" or "bf16". "auto" measures whether bf16 autocast is faster than fp32 on
    this device."""
    seed: Seed = 0
    """Random seed of weights, attacks and the order of the images."""
    log_every: Count = 2_000
    """Number of images between two lines of metrics."""
    checkpoint_every: Count = 10_000
    """Number of images between two checkpoints."""
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
        if self.labels is not None and self.start == BUILT_IN:
            raise UnlogitError(
                "--labels keep the head of --start, and small: has none: leave out --labels, or give another --start"
            )

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
    """Train a classifier, standard or adversarially. Run the same command again to resume."""

    config: Annotated[FitConfig, tyro.conf.arg(name="")]
    processes: Count = 1
    """Number of processes on this machine: one per GPU, or on a CPU with few cores one per core. Each process has its
    own batch statistics in batch norm, so their number changes the result slightly."""
