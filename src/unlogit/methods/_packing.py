"""Quantise weights to one byte each, with a scale per row, to make saved inverters smaller.

Every row of a matrix, or filter of a convolution, is divided into equal steps between plus and minus its largest
absolute weight. Eight bits give 254 steps, so that no weight changes by more than 1/254 of the largest; six give 62.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unlogit.errors import UnlogitError
from unlogit.saved import FLOATS, Header

SCALE = ".row_scale"


def packed(tensors: Mapping[str, Tensor], bits: int = 8) -> dict[str, Tensor]:
    """Pack float32 tensors: matrices and filters as int8 with float32 scales; everything else in half precision.

    Args:
        tensors: tensors by name.
        bits: number of bits used of each byte, 2 to 8.
    """
    levels = 2 ** (bits - 1) - 1
    packed_tensors: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim < 2:
            packed_tensors[name] = halved(tensor)
            continue
        rows = tensor.float().flatten(1)
        scale = (rows.abs().amax(1, keepdim=True) / levels).clamp(min=torch.finfo(torch.float32).tiny)
        packed_tensors[name] = (rows / scale).round().to(torch.int8).view(tensor.shape)
        packed_tensors[name + SCALE] = scale.squeeze(1)
    return packed_tensors


def halved(tensor: Tensor) -> Tensor:
    """Return a tensor in half precision; in float32 where half precision would overflow, as variances can."""
    return tensor.half() if bool((tensor.abs() <= torch.finfo(torch.float16).max).all()) else tensor.float()


def unpacked_header(header: Header, what: str) -> Header:
    """Return the types and shapes that `unpacked` returns; raise `UnlogitError` unless there is one scale per row.

    A scale of another length could broadcast to a tensor far larger than the file.
    """
    shapes = {}
    for name, (kind, shape) in header.items():
        if name.endswith(SCALE):
            if name.removesuffix(SCALE) not in header:
                raise UnlogitError(f"{what}: tensor '{name}' scales a tensor that is missing")
            continue
        packed_kind, scale_shape = header.get(name + SCALE, (None, None))
        if packed_kind is not None and (kind != "I8" or packed_kind not in FLOATS or scale_shape != shape[:1]):
            raise UnlogitError(
                f"{what}: tensor '{name}' is {kind} of shape {shape}, and its scale {packed_kind} of {scale_shape}: "
                "must be I8 with a float per row"
            )
        shapes[name] = (kind if packed_kind is None else packed_kind, shape)
    return shapes


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return float32 tensors of the output of `packed`, or of any other tensors."""
    scales = {name.removesuffix(SCALE): scale for name, scale in tensors.items() if name.endswith(SCALE)}
    return {
        name: tensor.float() * scales[name].view(-1, *[1] * (tensor.ndim - 1)) if name in scales else tensor.float()
        for name, tensor in tensors.items()
        if not name.endswith(SCALE)
    }
