"""The same frozen classifier, faster: batch norms folded into the convolutions before them, slow kernels avoided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.utils.fusion import fuse_conv_bn_eval

PLAIN = ("Conv2d", "Conv2dSame")
"""Convolutions that use their weights as they are; the second is timm's. Weight-standardised ones do not."""


def fuse(network: nn.Module, trial: Tensor, kept: Iterable[str] = ()) -> None:
    """Fold each batch norm into the convolution whose output goes there and nowhere else, in place.

    Every module outside the convolutions gives what it gave, within rounding. Pairs are read off the graph of a pass,
    not off names, so that it holds for any architecture; where there is none, nothing changes.

    Args:
        network: in evaluation mode.
        trial: an input of it.
        kept: names of convolutions whose own output is wanted.
    """
    assert not network.training
    for first, second in _pairs(network, trial, set(kept)):
        convolution, norm = network.get_submodule(first), network.get_submodule(second)
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        rest = _after(norm)
        assert rest is not None
        network.set_submodule(first, fuse_conv_bn_eval(convolution, norm))
        network.set_submodule(second, rest)


class FullPrecision(nn.Module):
    """A module under autocast on a CPU as it is without; its output has the input's type."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            exact: Tensor = self.module(x)
            return exact
        with torch.autocast("cpu", enabled=False):
            return self.module(x.float()).to(x.dtype)


def spare_slow_gradients(network: nn.Module) -> None:
    """Strided depthwise convolutions in full precision, in place: in bf16 a CPU takes up to 35 times as long for their
    gradient with respect to the input (oneDNN 3.12).
    """
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 and max(module.stride) > 1:
            network.set_submodule(name, FullPrecision(module))


def _pairs(network: nn.Module, trial: Tensor, kept: set[str]) -> list[tuple[str, str]]:
    """Names of (convolution, batch norm), where the one's output is read by the other alone."""
    made: dict[str, list[Node | None]] = {}
    read: dict[str, list[Node | None]] = {}
    hooks = []
    for name, module in network.named_modules():
        if type(module).__name__ in PLAIN and name not in kept:
            hooks.append(module.register_forward_hook(partial(_note_output, made.setdefault(name, []))))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats and _after(module) is not None:
            hooks.append(module.register_forward_pre_hook(partial(_note_input, read.setdefault(name, []))))
    try:
        with torch.enable_grad():
            output = network(trial.clone().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    readers = _readers(output.grad_fn)
    # A module that is run twice, or not at all, is left alone.
    makers = {nodes[0]: name for name, nodes in made.items() if len(nodes) == 1 and readers[nodes[0]] == 1}
    once = ((nodes[0], name) for name, nodes in read.items() if len(nodes) == 1)
    return [(makers[node], name) for node, name in once if node is not None and node in makers]


def _note_output(nodes: list[Node | None], _module: nn.Module, _args: object, output: Tensor) -> None:
    nodes.append(output.grad_fn)


def _note_input(nodes: list[Node | None], _module: nn.Module, args: tuple[Tensor, ...]) -> None:
    nodes.append(args[0].grad_fn)


def _readers(last: Node | None) -> Counter[Node | None]:
    """How many operations read each operation's output, among those that the last one rests on."""
    readers: Counter[Node | None] = Counter()
    seen, waiting = {last}, [last]
    while waiting:
        node = waiting.pop()
        for before, _ in node.next_functions if node is not None else ():
            readers[before] += 1
            if before not in seen:
                seen.add(before)
                waiting.append(before)
    return readers


def _after(norm: nn.BatchNorm2d) -> nn.Module | None:
    """What a batch norm does after normalising; None where that is not known."""
    if type(norm) is nn.BatchNorm2d:
        return nn.Identity()
    # timm's, with drop-out and activation inside.
    if type(norm).__name__ == "BatchNormAct2d":
        return nn.Sequential(norm.get_submodule("drop"), norm.get_submodule("act"))
    return None
