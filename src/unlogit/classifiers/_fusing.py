"""The same frozen classifier, faster: batch norms folded into the convolutions before them, slow kernels avoided."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from unlogit.classifiers._efficientnet_lite import NormAct, SamePadConv, pad_same

Replaced = list[tuple[str, nn.Module]]
"""(name, module that was there), in the order of the replacements."""


def fuse(network: nn.Module, trial: Tensor, kept: Iterable[str] = ()) -> Replaced:
    """Fold each batch norm into the convolution whose output goes there and nowhere else, in place.

    Every module outside the convolutions gives what it gave, within rounding. Pairs are read off the graph of a pass,
    not off names, so that it holds for any architecture; where there is none, nothing changes.

    Args:
        network: in evaluation mode.
        trial: an input of it.
        kept: names of convolutions whose own output is wanted.

    Returns:
        what was replaced, for `restore`.
    """
    assert not network.training
    replaced: Replaced = []
    for first, second in _pairs(network, trial, set(kept)):
        convolution, norm = network.get_submodule(first), network.get_submodule(second)
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        rest = _after(norm)
        assert rest is not None
        replaced += [(first, convolution), (second, norm)]
        network.set_submodule(first, fuse_conv_bn_eval(convolution, norm))
        network.set_submodule(second, rest)
    return replaced


def restore(network: nn.Module, replaced: Replaced) -> None:
    """Put back what was replaced, in place."""
    for name, module in reversed(replaced):
        network.set_submodule(name, module)


class _Strided(torch.autograd.Function):
    """A strided convolution with a constant weight, whose gradient is that of the same convolution with stride 1.

    A convolution of stride s reads every s-th position of one with stride 1. Its gradient with respect to the input is
    therefore the other's, for an output gradient with zeros between the positions.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.stride, ctx.padding, ctx.dilation, ctx.groups = x.shape, stride, padding, dilation, groups
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        geometry = zip(ctx.shape[2:], weight.shape[2:], ctx.padding, ctx.dilation, strict=True)
        height, width = (side + 2 * padding - dilation * (kernel - 1) for side, kernel, padding, dilation in geometry)
        batch, channels = grad.shape[:2]
        spread = grad.new_zeros(batch, height, width, channels).permute(0, 3, 1, 2)  # Channels last.
        spread[:, :, :: ctx.stride[0], :: ctx.stride[1]] = grad
        unstrided = F.conv_transpose2d(spread, weight, None, 1, ctx.padding, 0, ctx.groups, ctx.dilation)
        return unstrided, None, None, None, None, None, None


class StridedDepthwise(nn.Module):
    """A frozen strided depthwise convolution with another computation of its gradient under autocast on a CPU."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        layer = self.convolution
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            plain: Tensor = layer(x)
            return plain
        x, weight = (t.to(torch.get_autocast_dtype("cpu")) for t in (x, layer.weight))
        bias = None if layer.bias is None else layer.bias.to(weight)
        padding = layer.padding
        if type(layer) is not nn.Conv2d:
            x, padding = pad_same(x, layer), (0, 0)
        strided: Tensor = _Strided.apply(x, weight, bias, layer.stride, padding, layer.dilation, layer.groups)
        return strided


def spare_slow_gradients(network: nn.Module) -> Replaced:
    """Replace strided depthwise convolutions, in place, and let ReLU6 return a new tensor.

    In bf16 a CPU takes up to 35 times as long for such a convolution's gradient with respect to the input as for one of
    stride 1 (oneDNN 3.12). ReLU6 in place copies its input first, since its gradient needs it (torch 2.14).

    Returns:
        what was replaced, for `restore`.
    """
    replaced: Replaced = []
    for name, module in list(network.named_modules()):
        if type(module) is nn.ReLU6:
            module.inplace = False
        elif type(module) in _convolutions() and _own(module) and _is_strided_depthwise(module):
            replaced.append((name, module))
            network.set_submodule(name, StridedDepthwise(module))
    return replaced


def _is_strided_depthwise(layer: nn.Module) -> bool:
    assert isinstance(layer, nn.Conv2d)
    plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return plain and layer.groups == layer.in_channels > 1 and max(layer.stride) > 1


def _own(module: nn.Module) -> bool:
    """Whether a module does what its type does and nothing else: no hook, no forward of its own."""
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    return not any(hooks) and "forward" not in vars(module)


def _pairs(network: nn.Module, trial: Tensor, kept: set[str]) -> list[tuple[str, str]]:
    """Names of (convolution, batch norm), where the one's output is read by the other alone."""
    made: dict[str, list[Node | None]] = {}
    read: dict[str, list[Node | None]] = {}
    # A module with two names would be replaced under one of them.
    names = Counter(module for _, module in network.named_modules(remove_duplicate=False))
    convolutions = _convolutions()
    with ExitStack() as hooks, torch.enable_grad():
        for name, module in network.named_modules():
            if names[module] > 1 or not _own(module):
                continue
            if type(module) in convolutions and name not in kept:
                note_output = partial(_note_output, made.setdefault(name, []))
                hooks.enter_context(module.register_forward_hook(note_output))
            elif isinstance(module, nn.BatchNorm2d) and _after(module) is not None:
                note_input = partial(_note_input, read.setdefault(name, []))
                hooks.enter_context(module.register_forward_pre_hook(note_input))
        output = network(trial.clone().requires_grad_())
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
    """What a batch norm does after normalising by its running statistics; None where that is not known."""
    if norm.training or norm.running_mean is None:
        return None
    if type(norm) is nn.BatchNorm2d:
        return nn.Identity()
    if type(norm) is NormAct:
        return norm.act
    # timm's, with drop-out and activation inside.
    if type(norm) is _timm_type("BatchNormAct2d"):
        return nn.Sequential(norm.get_submodule("drop"), norm.get_submodule("act"))
    return None


def _convolutions() -> set[type | None]:
    """Types, not their subclasses, which may use their weights in another way, such as weight-standardised ones."""
    return {nn.Conv2d, SamePadConv, _timm_type("Conv2dSame")}


def _timm_type(name: str) -> type | None:
    """A layer's type; None where timm is not imported, since no network is then timm's and importing it is slow."""
    return getattr(sys.modules.get("timm.layers"), name, None)
