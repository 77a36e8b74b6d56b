from itertools import pairwise

import pytest
import torch
from torch import Tensor

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import ImageSource, Loader, View


class Numbers(ImageSource):
    """Image i has the colour i throughout, but for a bright left half; those in `bad` are broken."""

    spec = "numbers:"
    class_names = ("even", "odd")

    def __init__(self, count: int, bad: tuple[int, ...] = ()) -> None:
        self.count = count
        self.bad = bad
        self.decoded: list[int] = []

    def __len__(self) -> int:
        return self.count

    @property
    def labels(self) -> Tensor:
        return torch.arange(self.count) % 2

    def decode(self, index: int) -> Tensor:
        self.decoded.append(index)
        if index in self.bad:
            raise BrokenImage(f"number {index}: bad")
        image = torch.full((3, 8, 8), index, dtype=torch.uint8)
        image[:, :, :4] = 255
        return image


def loader(
    count: int = 50, batch_size: int = 8, *, bad: tuple[int, ...] = (), view: View | None = None, **options
) -> Loader:
    return Loader(Numbers(count, bad), view or View(8, flip=True), batch_size, **({"seed": 3} | options))


def same(a, b) -> bool:
    return all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("images", "labels", "indices", "flipped"))


def test_a_batch_is_what_it_says():
    batch = loader().batch(16)
    assert len(batch) == 8 and batch.images.shape == (8, 3, 8, 8)
    right = torch.where(batch.flipped, batch.images[:, 0, 0, 0], batch.images[:, 0, 0, -1])
    assert torch.equal((right * 255).round().long(), batch.indices)
    assert torch.equal(batch.labels, batch.indices % 2)
    left = torch.where(batch.flipped, batch.images[:, 0, 0, -1], batch.images[:, 0, 0, 0])
    assert (left == 1).all() and 0 < batch.flipped.sum() < 8


@pytest.mark.parametrize("view", [View(8, flip=True), View(8, "random", flip=True)])
def test_a_batch_is_a_function_of_seed_and_position(view):
    one = loader(view=view)
    later = [one.batch(p) for p in (400, 0, 8, 1234)]
    for position, batch in zip((400, 0, 8, 1234), later, strict=True):
        assert same(loader(view=view).batch(position), batch)
    assert not same(loader(view=view, seed=4).batch(0), later[1])


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("view", [View(8, flip=True), View(6, "random", flip=True)])
def test_ranks_share_the_same_batch(world_size, view):
    whole = loader(bad=(7, 8, 30), view=view)
    parts = [loader(bad=(7, 8, 30), view=view, rank=r, world_size=world_size) for r in range(world_size)]
    for position in range(0, 120, 8):
        expected = whole.batch(position)
        shares = [part.batch(position) for part in parts]
        assert all(len(share) == 8 // world_size for share in shares)
        for name in ("images", "labels", "indices", "flipped"):
            assert torch.equal(torch.cat([getattr(s, name) for s in shares]), getattr(expected, name))


def test_every_image_once_an_epoch():
    stream = torch.cat([loader().batch(position).indices for position in range(0, 200, 8)])
    epochs = stream.split(50)
    assert len(epochs) == 4
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, torch.arange(50))
    assert all(not torch.equal(a, b) for a, b in pairwise(epochs))
    assert not torch.equal(epochs[0], torch.arange(50))


def test_batches_may_be_larger_than_the_source():
    indices = loader(count=3, batch_size=8).batch(4).indices
    assert torch.equal(indices[2:5].sort().values, torch.arange(3))  # positions 6, 7 and 8: an epoch


def test_in_order_wraps_around():
    plain = loader(count=10, shuffle=False)
    assert plain.batch(8).indices.tolist() == [8, 9, 0, 1, 2, 3, 4, 5]


def test_the_next_good_image_takes_a_broken_ones_place():
    fixed = loader(count=10, bad=(3, 4, 9), shuffle=False)
    batch = fixed.batch(2)
    assert batch.indices.tolist() == [2, 5, 5, 5, 6, 7, 8, 0]
    assert fixed.source.broken.reasons == {i: f"number {i}: bad" for i in (3, 4, 9)}
    assert (batch.images[:, 0, 0, 0] >= 0).all() and torch.equal(batch.labels, batch.indices % 2)
    source = fixed.source
    source.decoded.clear()
    assert same(fixed.batch(2), batch)
    assert not set(source.decoded) & {3, 4, 9}  # known by now


def test_only_broken_images():
    with pytest.raises(UnlogitError, match=r"numbers:: none of its 5 images can be decoded \(number \d: bad\)"):
        loader(count=5, bad=tuple(range(5))).batch(0)


@pytest.mark.parametrize("world_size", [1, 3])
def test_once_shows_every_good_image_once(world_size):
    seen = []
    for rank in range(world_size):
        part = loader(batch_size=12, bad=(7, 20), view=View(8, "random", flip=True), rank=rank, world_size=world_size)
        for batch in part.once():
            assert len(batch) <= 12 // world_size
            assert not batch.flipped.any() and (batch.images[:, 0, 0, 0] == 1).all()
            assert torch.equal(batch.labels, batch.indices % 2)
            assert batch.indices.tolist() == sorted(batch.indices.tolist())
            seen += batch.indices.tolist()
        assert set(part.source.broken.reasons) <= {7, 20}
    assert sorted(seen) == [i for i in range(50) if i not in (7, 20)]
    if world_size == 1:
        assert seen == sorted(seen) and set(part.source.broken.reasons) == {7, 20}


def test_a_limit_spreads_over_the_source_and_not_over_seeds():
    few, other = (torch.cat([b.indices for b in loader(seed=seed).once(limit=20)]).tolist() for seed in (0, 1))
    assert len(set(few)) == 20 and few == sorted(few) == other
    assert few[0] < 10 and few[-1] > 40
    assert sum(len(b) for b in loader().once(limit=1000)) == 50
    assert list(loader().once(limit=0)) == []


def test_a_batch_of_broken_images_is_left_out():
    assert [b.indices.tolist() for b in loader(count=10, batch_size=4, bad=(4, 5, 6, 7)).once()] == [
        [0, 1, 2, 3],
        [8, 9],
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 9, "world_size": 2}, "multiple of the 2 processes"),
        ({"batch_size": 0}, "positive"),
        ({"seed": -1}, "not be negative"),
        ({"count": 0}, "no images"),
    ],
)
def test_wrong_loaders(options, message):
    with pytest.raises(UnlogitError, match=message):
        loader(**options)
