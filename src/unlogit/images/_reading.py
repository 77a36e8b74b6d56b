"""From whatever holds an image (a file, a PIL image, an array, a tensor) to pixels in [0, 1]."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unlogit.errors import UnlogitError
from unlogit.files import expand_user
from unlogit.images._base import check_pixels
from unlogit.images._decoding import decode_file, upright
from unlogit.images._views import View

AnyImage: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray | Tensor"
"""An image, or for arrays and tensors of four dimensions a batch of them; see `read_images`."""
AnyImages: TypeAlias = "AnyImage | Sequence[AnyImage]"


def load_images(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], size: int | None = None
) -> Tensor | list[Tensor]:
    """Load image files as float32 RGB in [0, 1].

    Args:
        paths: one path or several.
        size: side in pixels of the middle square that is taken of each image; None keeps images whole.

    Returns:
        N x 3 x H x W, or a list of 3 x H x W where the sizes differ.

    Raises:
        UnlogitError: no path is given, or one is a folder.
        BrokenImage: a file is missing or cannot be decoded.
    """
    paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not paths:
        raise UnlogitError("no path given: must be at least one image file")
    decoded = [_decode(path) for path in paths]
    if size is not None:
        return View(size).apply(decoded)
    images = [image.float() / 255 for image in decoded]
    return torch.stack(images) if len({image.shape for image in images}) == 1 else images


def read_images(images: AnyImages) -> list[Tensor]:
    """Return images as batches, each float32, N x 3 x H x W in [0, 1], in the order in which they are given.

    Args:
        images: a path, a PIL image, an array or tensor, or a sequence of them. Arrays and tensors are 3 x H x W or
            N x 3 x H x W, floating point in [0, 1] or uint8; uint8 arrays may also have the channels last.

    Raises:
        UnlogitError: there is no image, or something else is given.
        BrokenImage: a file is missing or cannot be decoded.
    """
    if isinstance(images, str | os.PathLike | Image.Image | np.ndarray | Tensor):
        return [_read(images)]
    if not isinstance(images, Sequence):
        raise UnlogitError(
            f"images: expected paths, PIL images, arrays or tensors, got {type(images).__name__}; give a list of them"
        )
    if not images:
        raise UnlogitError("images: expected at least one, got an empty list")
    return [_read(image) for image in images]


def _read(image: AnyImage) -> Tensor:
    if isinstance(image, str | os.PathLike):
        image = _decode(image)
    elif isinstance(image, Image.Image):
        image = upright(image.copy(), "images: PIL image")  # Turning it in place must not change the caller's.
    elif isinstance(image, np.ndarray):
        image = _from_array(image)
    elif not isinstance(image, Tensor):
        raise UnlogitError(f"images: expected a path, PIL image, array or tensor, got {type(image).__name__}")
    if image.dtype == torch.uint8:
        image = image.float() / 255
    if image.ndim == 3 and len(image) == 3:
        image = image[None]
    return check_pixels(image).float()


def _from_array(array: np.ndarray) -> Tensor:
    if array.dtype == np.uint8 and array.ndim in (3, 4) and array.shape[-1] == 3:
        array = np.moveaxis(array, -1, -3)
    try:
        return torch.from_numpy(np.ascontiguousarray(array))
    except TypeError as error:
        raise UnlogitError(f"images: expected an array of floats or uint8, got {array.dtype}") from error


def _decode(path: str | os.PathLike[str]) -> Tensor:
    file = Path(expand_user(os.fspath(path)))
    if file.is_dir():
        raise UnlogitError(f"image '{file}' is a folder: give the files in it, or open_images('folder:{file}')")
    return decode_file(file)
