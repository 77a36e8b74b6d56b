"""Checksums of saved files, since neither torch nor safetensors compares any when it reads."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor


def damage(path: Path) -> str | None:
    """Return what is wrong with a file that torch saved, or None where its checksums hold.

    torch writes the CRC-32 of every record into its archive and ignores it when it loads. Comparing them takes about
    90 ms per 100 MB. Files in torch's format from before 1.6, which is no archive, and archives that were saved with
    `torch.serialization.set_crc32_options(False)` have no checksums: nothing is said of them.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":  # By which torch, too, knows its archives.
            return None
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            # Also a bomb: torch compresses nothing, so that records never take more than the file.
            if sum(record.file_size for record in records) > path.stat().st_size:
                return "its records are larger than the file"
            if not any(record.CRC for record in records):
                return None
            broken = archive.testzip()
    # A damaged directory gives any of these: an unknown method, a password, a place beyond the end.
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        return f"its archive is damaged: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return None if broken is None else f"the checksum of its record '{broken}' does not match"


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return the CRC-32 of names, kinds, shapes and values of tensors on the CPU, as eight hexadecimal digits."""
    crc = 0
    for name, tensor in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        if tensor.numel():
            crc = zlib.crc32(tensor.contiguous().flatten().view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"
