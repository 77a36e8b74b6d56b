"""The optimiser that fits small classifiers on few images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for convolutions that batch-norm follows: steps along orthogonalised momentum.

    A filter bank is seen as one matrix, outputs x (inputs x positions). Its norm is held at the square root of the
    number of outputs, so that each step turns it by about `lr` in every direction alike, and no weight decay is
    needed. torch's own Muon takes matrices alone and works in bfloat16, which few CPUs compute in.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.9) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].mul_(group["momentum"]).add_(weight.grad)
                nesterov = weight.grad + group["momentum"] * momentum
                weight.mul_(len(weight) ** 0.5 / weight.norm())
                weight.sub_(group["lr"] * orthogonalised(nesterov.flatten(1)).view_as(weight))


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """Near the closest matrix, m x n, whose singular values are all one: they end between 0.7 and 1.2.

    The quintic Newton-Schulz iteration of Jordan et al. 2024, x <- (a + b x x' + c (x x')^2) x, carried out on the
    Gram matrix of the shorter side, since every factor is a polynomial of it.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / (wide.norm() + 1e-7)
    gram = wide @ wide.T
    product = identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    for _ in range(steps):
        factor = a * identity + (b * identity + c * gram) @ gram
        gram = factor @ gram @ factor
        product = factor @ product
    result = product @ wide
    return result.T if tall else result
