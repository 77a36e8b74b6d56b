"""Several processes that train one network: the few collective operations that training needs.

Started by torchrun; without it every function is the identity of a world of one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from unlogit.errors import UnlogitError, one_line


class Lost(UnlogitError):
    """An exchange with the other processes failed: one of them is gone."""


@contextmanager
def exchanging() -> Iterator[None]:
    """Tells the failure of an exchange, which follows from another process's end, as `Lost`."""
    try:
        yield
    except RuntimeError as error:
        message = str(error)
        if world_size() == 1 or not (isinstance(error, dist.DistError) or "gloo" in message or "NCCL" in message):
            raise
        raise Lost(
            f"process {rank()} of {world_size()} lost the others ({one_line(error, 120)}): "
            "the same command resumes from the last checkpoint"
        ) from error


def start(device: torch.device) -> None:
    """Join the process group that torchrun described in the environment, if any."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        # Plain numbers are exchanged on the CPU, which NCCL cannot do.
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def gathered(x: Tensor) -> Tensor:
    """What all ranks have, R x the shape of one's."""
    if world_size() == 1:
        return x[None]
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x)
    return torch.stack(parts)


@torch.no_grad()
def average_gradients(module: nn.Module) -> None:
    """Mean of the gradients over the ranks, in one flat reduction."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


@torch.no_grad()
def average_buffers(module: nn.Module) -> None:
    """Mean of the buffers over the ranks, such as the running statistics that each has of its own batches."""
    if world_size() == 1:
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= world_size()


def mean(values: Iterable[float]) -> list[float]:
    """Mean over the ranks of plain numbers."""
    flat = torch.tensor(list(values), dtype=torch.float64)
    if world_size() > 1:
        dist.all_reduce(flat)
        flat /= world_size()
    return [float(v) for v in flat]


def union(part: dict[int, str]) -> dict[int, str]:
    """What any rank knows, by number."""
    if world_size() == 1:
        return part
    parts: list[dict[int, str]] = [{}] * world_size()
    dist.all_gather_object(parts, part)
    return {number: value for each in parts for number, value in each.items()}


def every(share: Tensor) -> Tensor:
    """All rows, on the CPU, where each rank has every `world_size`-th from its own number on."""
    if world_size() == 1:
        return share.cpu()
    parts: list[Tensor] = [share] * world_size()
    dist.all_gather_object(parts, share.cpu())
    whole = parts[0].new_empty(sum(map(len, parts)), *share.shape[1:])
    for first, part in enumerate(parts):
        whole[first :: world_size()] = part
    return whole


def any_rank(flag: bool) -> bool:
    """Whether it is so in any process, for all to do the same."""
    return flag if world_size() == 1 else mean([float(flag)])[0] > 0


def barrier() -> None:
    if world_size() > 1:
        dist.barrier()


def stop() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
