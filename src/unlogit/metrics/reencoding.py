"""The classifier's outputs for a reconstruction, compared with those for the original; one value per image."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def agreement(logits: Tensor, reencoded: Tensor, k: int = 1) -> Tensor:
    """Return 1 where the original's predicted class is among the reconstruction's k highest, else 0; N."""
    predicted = logits.argmax(1, keepdim=True)
    return (reencoded.topk(k, dim=1).indices == predicted).any(1).float()


def logit_cosine(logits: Tensor, reencoded: Tensor) -> Tensor:
    """Return the cosine between logit vectors, N, in [-1, 1]; give both less the originals' mean."""
    return F.cosine_similarity(logits, reencoded)


def logit_error(logits: Tensor, reencoded: Tensor) -> Tensor:
    """Return the mean squared difference over dimensions, N; give both standardised, so that 2 is chance."""
    return (logits - reencoded).square().mean(1)
