"""Muon: its matrices are near orthogonal ones, and its steps are of the promised length."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unlogit.classifier_training.muon import Muon, orthogonalised


def plain(matrix: Tensor, steps: int = 5) -> Tensor:
    """The iteration on the matrix itself, in double precision."""
    x = (matrix / matrix.norm()).double()
    for _ in range(steps):
        x = 3.4445 * x - 4.7750 * x @ x.T @ x + 2.0315 * x @ x.T @ x @ x.T @ x
    return x.float()


@pytest.mark.parametrize("shape", [(24, 216), (96, 864), (48, 24), (10, 10)])
def test_it_is_the_plain_iteration(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(orthogonalised(matrix), plain(matrix), atol=1e-4)


def test_directions_are_kept_and_their_lengths_evened_out() -> None:
    left, _, right = torch.linalg.svd(
        torch.randn(12, 40, generator=torch.Generator().manual_seed(1)), full_matrices=False
    )
    spread = left @ torch.diag(torch.logspace(0, -1, 12)) @ right
    found = left.T @ orthogonalised(spread) @ right.T
    assert torch.allclose(found, torch.diag(found.diag()), atol=1e-4)
    assert found.diag().min() > 0.6 and found.diag().max() < 1.25


def test_a_gradient_of_zeros_moves_nothing() -> None:
    assert torch.equal(orthogonalised(torch.zeros(4, 9)), torch.zeros(4, 9))


def test_the_norm_is_held_and_a_step_is_a_turn_by_the_learning_rate() -> None:
    torch.manual_seed(2)
    weight = nn.Parameter(torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last))
    optimiser = Muon([weight], lr=0.01)
    before = None
    for _ in range(3):
        before = weight.detach() * len(weight) ** 0.5 / weight.detach().norm()
        weight.grad = torch.randn_like(weight)
        optimiser.step()
        length = float((weight.detach() - before).norm() / before.norm())
        assert 0.006 < length < 0.0125


def test_it_goes_down() -> None:
    torch.manual_seed(3)
    conv, target = nn.Conv2d(3, 6, 3, bias=False), nn.Conv2d(3, 6, 3, bias=False)
    x = torch.randn(16, 3, 8, 8)
    with torch.no_grad():
        target.weight.mul_(6**0.5 / target.weight.norm())
        wanted = target(x)
    optimiser = Muon(conv.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        loss = (conv(x) - wanted).square().mean()
        conv.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10
