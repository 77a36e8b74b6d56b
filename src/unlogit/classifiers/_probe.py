"""The contract of an opened classifier, checked once on a few random images: what would give wrong numbers later."""

from __future__ import annotations

import contextlib
import itertools

import torch
from torch import Tensor
from torch.autograd.graph import Node

from unlogit.classifiers._base import TRIAL_SIZE, Classifier, differ, random_images
from unlogit.errors import UnlogitError, first_line

IMAGES = 2
TOLERANCE = 0.02
"""Largest difference of an image's logits from pass to pass, in standard deviations over images. Rounding in bf16 stays
below, drop-out of 1 % of the units does not."""

SOFTMAX, LOG_SOFTMAX = "probabilities (a softmax)", "log-probabilities (a log-softmax)"
SIGMOIDS = {
    "SigmoidBackward0": "probabilities (a sigmoid)",
    "LogSigmoidBackward0": "log-probabilities (a log-sigmoid)",
}
"""What logits become by the operations of these nodes in autograd's graph."""

SHAPING = ("View", "ReshapeAlias", "UnsafeView", "Squeeze", "Unsqueeze", "Clone", "Alias", "ToCopy", "Select", "Slice")
"""Operations that only arrange values, by the first part of their nodes' names."""


@torch.no_grad()
def probe(classifier: Classifier) -> Classifier:
    """Check that a classifier keeps to the contract, and return it; raises `UnlogitError`, in one line, if not.

    On random images it must return float32 logits, N x K with K of 2 or more, one per class name; finite; the same
    each time, alone and in a batch; no probabilities. That takes two passes of two images: 55 ms for EfficientNet-Lite0
    at 128 px on one core.
    """
    spec = classifier.spec
    values = itertools.chain(classifier.network.named_parameters(), classifier.network.named_buffers())
    empty = next((name for name, value in values if value.is_meta), None)
    if empty is not None:
        raise UnlogitError(f"classifier '{spec}': '{empty}' is on the meta device, without values: load weights first")
    images = random_images(IMAGES, classifier.preprocessing.size or TRIAL_SIZE).to(classifier.mean.device)
    logits = _logits(classifier, images)
    if not logits.isfinite().all():
        raise UnlogitError(
            f"classifier '{spec}' returns non-finite logits (NaN or inf) for images: {_culprit(classifier)}"
        )
    if squashed := _squashed(classifier, images, logits):
        raise UnlogitError(
            f"classifier '{spec}' returns {squashed}, must be logits: leave out the network's last activation"
        )
    alone = torch.cat([_logits(classifier, image) for image in images.split(1)])
    if not differ(alone, logits, TOLERANCE):
        return classifier
    again = torch.cat([_logits(classifier, image) for image in images.split(1)])
    if differ(again, alone, TOLERANCE):
        raise UnlogitError(
            f"classifier '{spec}' returns other logits for the same image each time: switch its randomness off in "
            "evaluation mode, as F.dropout(x, training=self.training) does"
        )
    raise UnlogitError(
        f"classifier '{spec}' returns other logits for an image in a batch than for the image alone: its normalisation "
        "must use running statistics in evaluation mode, not those of the batch (track_running_stats=True)"
    )


def _logits(classifier: Classifier, images: Tensor) -> Tensor:
    """Return the logits of images after checks of their shape and type."""
    spec, count = classifier.spec, len(images)
    description = "1 image" if count == 1 else f"{count} images"
    try:
        logits = classifier(images)
    # A network may fail in any way of its own.
    except Exception as error:
        raise UnlogitError(
            f"classifier '{spec}' fails on {description} of {images.shape[-1]} px in float32 "
            f"({type(error).__name__}: {first_line(error)}): it must read any number of them, "
            "with all its weights in float32 on one device"
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != count:
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise UnlogitError(f"classifier '{spec}' returns {got} for {description}: must be logits, {count} x K")
    if logits.dtype != torch.float32:
        raise UnlogitError(
            f"classifier '{spec}' returns {logits.dtype} for float32 images: must be torch.float32, as .float() gives"
        )
    classes = logits.shape[1]
    if classes < 2:
        raise UnlogitError(
            f"classifier '{spec}' returns {classes} logits per image, must be 2 or more: "
            "for a single logit z of two classes return the pair (0, z)"
        )
    if classes != len(classifier.class_names):
        raise UnlogitError(f"classifier '{spec}' has {classes} logits, but {len(classifier.class_names)} class names")
    return logits


def _squashed(classifier: Classifier, images: Tensor, logits: Tensor) -> str | None:
    """What logits have become by a last activation; None where there is none."""
    # Any softmax, however it is computed; of a sigmoid, only autograd's graph says for sure.
    if (logits >= 0).all() and torch.allclose(logits.sum(1), torch.ones_like(logits[:, 0]), atol=1e-3):
        return SOFTMAX
    if (logits <= 0).all() and torch.allclose(logits.logsumexp(1), torch.zeros_like(logits[:, 0]), atol=1e-3):
        return LOG_SOFTMAX
    if (logits > 1).any() or ((logits < 0).any() and (logits > 0).any()):
        return None
    # A network without gradients has no graph.
    with contextlib.suppress(Exception), torch.enable_grad():
        node: Node | None = classifier(images[:1].clone().requires_grad_()).grad_fn
        while node is not None and node.name().startswith(SHAPING):
            node = node.next_functions[0][0]
        return None if node is None else SIGMOIDS.get(node.name())
    return None


def _culprit(classifier: Classifier) -> str:
    for name, value in classifier.network.state_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
            return f"its '{name}' is not finite, load other weights"
    return "its weights are finite, check what its forward does and the mean and std of its preprocessing"
