"""What a classifier is fitted to, as usual or robustly: one function an objective, all with one signature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from unlogit.attacks import ascend

TRADES_START = 0.001


@dataclass(frozen=True)
class Settings:
    """What the objectives need to know beside images; each takes what it uses.

    Attributes:
        epsilon: radius of the attack, in the scale where pixels are in [0, 1].
        steps: of its ascent (fgsm takes one).
        label_smoothing: share of the cross-entropy's target that is spread evenly over all classes.
        trades_beta: 1/lambda of Zhang et al. 2019: weight of agreement between image and attacked image.
        llr_lambda, llr_mu: weights of Qin et al. 2019.
    """

    epsilon: float
    steps: int = 7
    label_smoothing: float = 0.0
    trades_beta: float = 6.0
    llr_lambda: float = 4.0
    llr_mu: float = 3.0


Objective = Callable[[nn.Module, Tensor, Tensor, Tensor, Settings], Tensor]
"""(model, pixels N x 3 x H x W, labels N, standard normal noise like the pixels, settings) to the loss of a step.

The model goes from pixels to logits, N x K; its batch statistics see each image that is learnt from once.
"""


def standard(model: nn.Module, pixels: Tensor, labels: Tensor, _noise: Tensor, settings: Settings) -> Tensor:
    """Cross-entropy of images as they are."""
    return F.cross_entropy(model(pixels).float(), labels, label_smoothing=settings.label_smoothing)


def fgsm(model: nn.Module, pixels: Tensor, labels: Tensor, noise: Tensor, settings: Settings) -> Tensor:
    """Cross-entropy of images moved by one step from a random start (Wong et al. 2020; step of 1.25 epsilon)."""
    attacked = _attacked(model, pixels, labels, noise, settings.epsilon, 1, 1.25 * settings.epsilon)
    return standard(model, attacked, labels, noise, settings)


def pgd(model: nn.Module, pixels: Tensor, labels: Tensor, noise: Tensor, settings: Settings) -> Tensor:
    """Cross-entropy of images moved by several steps (Madry et al. 2018)."""
    size = 2.5 * settings.epsilon / settings.steps
    attacked = _attacked(model, pixels, labels, noise, settings.epsilon, settings.steps, size)
    return standard(model, attacked, labels, noise, settings)


def trades(model: nn.Module, pixels: Tensor, labels: Tensor, noise: Tensor, settings: Settings) -> Tensor:
    """Cross-entropy of the image, and KL(its prediction || the attacked image's) (Zhang et al. 2019, algorithm 1).

    The attack goes up that KL from beside the image, where it is zero and has no gradient.
    """
    with freeze_batch_norm(model):
        with torch.no_grad():
            fixed = model(pixels).float().log_softmax(1)
        attacked = ascend(
            lambda moved: divergence(fixed, model(moved).float().log_softmax(1)).sum(),
            pixels,
            pixels + TRADES_START * noise,
            settings.epsilon,
            settings.steps,
            2.5 * settings.epsilon / settings.steps,
        )
    logits = model(pixels).float()
    apart = divergence(logits.log_softmax(1), model(attacked).float().log_softmax(1)).mean()
    return F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing) + settings.trades_beta * apart


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of each image, N, of log-probabilities N x K."""
    return (p.exp() * (p - q)).sum(1)


def llr(model: nn.Module, pixels: Tensor, labels: Tensor, noise: Tensor, settings: Settings) -> Tensor:
    """Cross-entropy, plus how far from linear it is around the image (Qin et al. 2019, their LLR).

    With g(delta) = |l(x + delta) - l(x) - delta . grad l(x)|, found at its largest in the ball by ascent, the loss is
    l(x) + lambda g(delta) + mu |delta . grad l(x)|.
    """
    smoothing = settings.label_smoothing

    def losses(moved: Tensor) -> Tensor:
        return F.cross_entropy(model(moved).float(), labels, reduction="none", label_smoothing=smoothing)

    with freeze_batch_norm(model):
        value, grad = tangent(losses, pixels)
        fixed = value.detach(), grad.detach()
        attacked = ascend(
            lambda moved: nonlinearity(losses(moved), *fixed, moved - pixels).sum(),
            pixels,
            _uniform(pixels, noise, settings.epsilon),
            settings.epsilon,
            settings.steps,
            2.5 * settings.epsilon / settings.steps,
        )
    value, grad = tangent(losses, pixels, create_graph=True)
    delta = attacked - pixels
    gamma = nonlinearity(losses(attacked), value, grad, delta)
    along = (delta * grad).flatten(1).sum(1).abs()
    return (value + settings.llr_lambda * gamma + settings.llr_mu * along).mean()


@torch.enable_grad()
def tangent(losses: Callable[[Tensor], Tensor], pixels: Tensor, *, create_graph: bool = False) -> tuple[Tensor, Tensor]:
    """The loss of each image, N, and its gradient by the pixels, like them."""
    pixels = pixels.detach().requires_grad_()
    value = losses(pixels)
    (grad,) = torch.autograd.grad(value.sum(), pixels, create_graph=create_graph)
    return value, grad


def nonlinearity(moved: Tensor, value: Tensor, grad: Tensor, delta: Tensor) -> Tensor:
    """g of each image, N: how far the loss after a move, N, is from what the tangent foretells."""
    return (moved - value - (delta * grad).flatten(1).sum(1)).abs()


OBJECTIVES: dict[str, Objective] = {"standard": standard, "fgsm": fgsm, "pgd": pgd, "trades": trades, "llr": llr}


class LayoutHead(nn.Module):
    """Reads the coarse colours of an image from its logits, in training alone.

    Args:
        logits: number of logits.
        shuffled: read those of another image of the batch: a control, which costs as much and cannot be learnt.
        side: colours are averaged over side x side areas.
    """

    def __init__(self, logits: int, shuffled: bool, side: int = 4) -> None:
        super().__init__()
        self.shuffled, self.side = shuffled, side
        self.linear = nn.Linear(logits, 3 * side**2)

    def forward(self, logits: Tensor, pixels: Tensor) -> Tensor:
        """Return the share of the colours' variance over the batch that is not read, 0 for none.

        Args:
            logits: N x K.
            pixels: N x 3 x H x W in [0, 1].
        """
        colours = F.adaptive_avg_pool2d(pixels, self.side).flatten(1)
        colours = colours - colours.mean(0)
        if self.shuffled:  # Batches are in random order, so that the next image is any other.
            colours = colours.roll(1, 0)
        return (self.linear(logits.float()) - colours).square().sum() / colours.square().sum().clamp(min=1e-12)


def with_layout(objective: Objective, head: LayoutHead, weight: float) -> Objective:
    """Return an objective plus `weight` times the loss of the head on the last logits that the objective takes."""

    def total(model: nn.Module, pixels: Tensor, labels: Tensor, noise: Tensor, settings: Settings) -> Tensor:
        logits: list[Tensor] = []
        hook = model.register_forward_hook(lambda _module, _args, output: logits.append(output))
        try:
            loss = objective(model, pixels, labels, noise, settings)
        finally:
            hook.remove()
        return loss + weight * head(logits[-1], pixels)

    return total


@contextmanager
def freeze_batch_norm(model: nn.Module) -> Iterator[None]:
    """Keep running statistics as they are; batch norms still normalise by the batch's own.

    A search for an attack is not training data: only the pass that is learned from may change running statistics.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _attacked(
    model: nn.Module, pixels: Tensor, labels: Tensor, noise: Tensor, epsilon: float, steps: int, size: float
) -> Tensor:
    """Images moved up the cross-entropy, from a uniformly random start."""
    with freeze_batch_norm(model):
        return ascend(
            lambda moved: F.cross_entropy(model(moved).float(), labels, reduction="sum"),
            pixels,
            _uniform(pixels, noise, epsilon),
            epsilon,
            steps,
            size,
        )


def _uniform(pixels: Tensor, noise: Tensor, epsilon: float) -> Tensor:
    """A place in the ball, uniformly, of normal noise."""
    return pixels + (2 * torch.special.ndtr(noise) - 1) * epsilon
