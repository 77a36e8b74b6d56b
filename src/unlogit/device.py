"""Which device, and in which precision it computes fast."""

from __future__ import annotations

import os

import torch


def pick_device() -> torch.device:
    """The accelerator of this process, or the CPU."""
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        return device
    return torch.device("cpu")


def computes_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than fp32 there; on a CPU without such instructions it is ten times slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast of "auto", "fp32" or "bf16"."""
    on = computes_bf16(device) if precision == "auto" else precision == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=on)
