"""Which of a classifier's logits each label of a data set is, where the two number their classes differently."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from unlogit.errors import UnlogitError

LABEL, INDEX = "label", "imagenet1k"


def read_labels(path: Path, classes: int) -> Tensor:
    """Which logit each of so many labels is, int64, one a class: of a JSON list of {"label": 0, "imagenet1k": 1, ...}.

    Raises `UnlogitError` where there are no classes, or the file is something else or does not name each label once.
    """
    if not classes:
        raise UnlogitError(f"labels '{path}': the images have no labels")
    try:
        rows = json.loads(path.read_text())
        indices = {int(row[LABEL]): int(row[INDEX]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise UnlogitError(f"labels '{path}': must be a JSON list of objects with {LABEL} and {INDEX}") from error
    if sorted(indices) != list(range(classes)) or len(rows) != classes or min(indices.values()) < 0:
        raise UnlogitError(f"labels '{path}': must name each label from 0 to {classes - 1} once")
    return torch.tensor([indices[label] for label in range(classes)])
