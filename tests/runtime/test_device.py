"""Precision is what is measured to be faster, and a run keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from unlogit.errors import UnlogitError
from unlogit.runtime import device
from unlogit.runtime.device import autocast, fastest_precision, pick_device

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def measured_anew() -> Iterator[None]:
    fastest_precision.cache_clear()
    yield
    fastest_precision.cache_clear()


def bf16_takes(times: float, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Let every step in bf16 take `times` as long as one in fp32; returns which steps were in bf16."""
    steps: list[bool] = []

    def seconds(step: Callable[[], object], _clock: Callable[[], float]) -> float:
        before = len(steps)
        step()
        assert len(steps) == before + 1
        return times if steps[-1] else 1.0

    original = device.autocast

    def watched(where: torch.device, precision: str) -> torch.autocast:
        steps.append(precision == "bf16")
        return original(where, precision)

    monkeypatch.setattr(device, "seconds", seconds)
    monkeypatch.setattr(device, "autocast", watched)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    return steps


@pytest.mark.parametrize(("times", "faster"), [(0.5, "bf16"), (1.7, "fp32")])
def test_a_cpu_with_bf16_instructions_is_measured(times: float, faster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = bf16_takes(times, monkeypatch)
    assert fastest_precision(CPU) == faster
    assert sum(steps) == len(steps) // 2 > 1
    assert fastest_precision(CPU) == faster
    assert len(steps) == 2 * device.PRECISION_ROUNDS


def test_a_cpu_without_bf16_instructions_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(device, "seconds", None)
    assert fastest_precision(CPU) == "fp32"


def test_the_measurement_does_not_advance_the_random_state() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    fastest_precision(CPU)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


@pytest.mark.parametrize("faster", ["fp32", "bf16"])
def test_auto_is_the_faster_one(faster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "fastest_precision", lambda _: faster)
    with autocast(CPU, "auto"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if faster == "bf16" else torch.float32)


def test_a_device_is_picked_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device() == pick_device("cpu") == CPU
    with pytest.raises(UnlogitError, match="--device cuda: torch finds 0 CUDA GPUs on this machine; give --device"):
        pick_device("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UnlogitError, match="--device mps: torch has no MPS"):
        pick_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("mps").type == "mps"
    assert pick_device() == CPU


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "cpu:0", "cuda:-1"])
def test_an_unknown_device_is_an_error(name: str) -> None:
    with pytest.raises(UnlogitError, match=f"--device '{name}': must be auto, cpu, cuda, cuda:N or mps"):
        pick_device(name)


def test_gpus_are_picked_by_process_or_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_device() == pick_device("cuda") == torch.device("cuda", 1)
    assert pick_device("cuda:0") == torch.device("cuda", 0)
    assert pick_device("cpu") == CPU
    assert [device.index for device in chosen] == [1, 1, 0]
    with pytest.raises(UnlogitError, match="finds 2 CUDA GPUs"):
        pick_device("cuda:2")
