"""Labels and class names from what data sets say of their images."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType

import numpy as np
import torch
from torch import Tensor

from unlogit.errors import UnlogitError
from unlogit.outside import encodable, in_order, plain

LABEL_COLUMNS = ("label", "labels", "fine_label", "cls", "class")
"""Usual names of labels in a table."""
MAX_CLASSES = 1_000_000
NO_LABEL = "names no class; labels must be all whole numbers or all words"


def classes(values: Sequence[object], what: str, names: Sequence[str] = ()) -> tuple[Tensor, tuple[str, ...]]:
    """Labels, int64, shape (N,), and class names from one value per image, None where it has no label.

    Whole numbers are the labels, negative ones stand for none; without `names` they name themselves. Words are the
    classes' names, numbered by their places in `names`, or else in order (see `in_order`). Where no image has a
    label, no class has a name.

    Raises:
        UnlogitError: values that name no class, or for which there are not names enough. It begins with `what`.
    """
    for value in values:
        if not isinstance(value, (str, int, np.integer, NoneType)):
            raise UnlogitError(f"{what}: {plain(str(value)[:40])!r} {NO_LABEL}")
    distinct_values = {value for value in values if value is not None}
    if distinct_values and all(isinstance(value, str) for value in distinct_values):
        names = names or in_order([str(value) for value in distinct_values])
        indices = {name: index for index, name in enumerate(names)}
        for odd in distinct_values - indices.keys():
            raise UnlogitError(f"{what}: class '{plain(str(odd))}' is not among the {len(names)} that are named")
        values = [None if value is None else indices[str(value)] for value in values]
    numbers = [-1 if value is None else _number(value, what) for value in values]
    labels = torch.tensor(numbers, dtype=torch.int64)
    most = int(labels.max()) if len(labels) else -1
    if names and most >= len(names):
        raise UnlogitError(f"{what}: has a label {most}, but only {len(names)} classes are named")
    return labels, (tuple(map(encodable, names)) or tuple(map(str, range(most + 1)))) if most >= 0 else ()


def _number(value: object, what: str) -> int:
    if not isinstance(value, (int, np.integer)):
        raise UnlogitError(f"{what}: {plain(str(value)[:40])!r} {NO_LABEL}")
    if value >= MAX_CLASSES:
        raise UnlogitError(f"{what}: has a label {value}; labels must count from 0")
    return max(int(value), -1)
