"""Random streams that are a function of a seed and a position."""

from __future__ import annotations

import itertools

import torch

from unlogit.runtime.seeds import seeded


def draw(*parts: int) -> list[float]:
    return torch.rand(4, generator=seeded(*parts)).tolist()


def test_a_stream_depends_on_every_part_and_their_order() -> None:
    assert draw(1, 2, 3) == draw(1, 2, 3)
    streams = [draw(*parts) for parts in ((0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 2), (2**32, 0, 1), (0, 0, 2**40))]
    assert all(a != b for a, b in itertools.combinations(streams, 2))


def test_streams_of_saved_runs_stay() -> None:
    # A run resumes with the noise of its position, so that another mix of the parts would change it.
    assert torch.equal(
        torch.randint(1000, (3,), generator=seeded(0, 128, 2)),
        torch.randint(1000, (3,), generator=torch.Generator().manual_seed(1886556025)),
    )
