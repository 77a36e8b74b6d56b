"""The moving average computes what torch's `AveragedModel` does, without its waiting for the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unlogit.runtime.ema import MovingAverage, decay

KEEP = 0.75


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


@torch.no_grad()
def train(model: nn.Module) -> None:
    """Change all weights and running statistics."""
    for parameter in model.parameters():
        parameter += torch.randn_like(parameter)
    model(torch.randn(2, 3, 8, 8))


@pytest.mark.parametrize("use_buffers", [False, True])
def test_it_is_the_average_of_torch_and_reads_its_checkpoints(use_buffers: bool) -> None:
    model = network()

    def average(averages: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        whole = [i for i, tensor in enumerate(averages) if not tensor.is_floating_point()]
        for i in whole:
            averages[i].copy_(current[i])
        rest = [i for i in range(len(averages)) if i not in whole]
        if rest:
            get_ema_multi_avg_fn(KEEP)([averages[i] for i in rest], [current[i] for i in rest], count)

    expected = AveragedModel(model, multi_avg_fn=average, use_buffers=use_buffers)
    ours = MovingAverage(model, use_buffers=use_buffers)
    for _ in range(3):
        train(model)
        expected.update_parameters(model)
        ours.update(model, KEEP)
    assert list(ours.state_dict()) == list(expected.state_dict())
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, msg=name)
    resumed = MovingAverage(model, use_buffers=use_buffers)
    resumed.load_state_dict(expected.state_dict())
    train(model)
    for one in (ours, resumed):
        one.update(model, KEEP)
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, msg=name)


def test_the_first_update_copies_and_a_decay_of_zero_does_too() -> None:
    model = network()
    average = MovingAverage(model)
    for keep in (KEEP, 0.0):
        train(model)
        average.update(model, keep)
        for name, value in model.state_dict().items():
            assert torch.equal(average.module.state_dict()[name], value), name


def test_the_half_life_is_constant_or_grows_with_the_images_seen() -> None:
    assert decay(8, 16) == pytest.approx(0.5**0.5)
    assert decay(8, 16, seen=1_000) == pytest.approx(0.5**0.5)
    assert decay(8, 16, seen=80) == pytest.approx(0.5)
    assert decay(8, 16, seen=0) == pytest.approx(0.0, abs=1e-20)


@contextmanager
def no_synchronisation() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_an_update_does_not_wait_for_the_device() -> None:
    model = network().cuda()
    average = MovingAverage(model)
    with no_synchronisation():
        for _ in range(2):
            average.update(model, KEEP)
