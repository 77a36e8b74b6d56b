import pytest
import torch
from torch import Tensor

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import ImageSource, Loader, View, summary


class Some(ImageSource):
    """Black images, of which every `each`-th is broken, beginning with number `first`."""

    spec = "some:"
    class_names = ()

    def __init__(self, count: int, each: int, first: int = 0) -> None:
        self.count = count
        self.each = each
        self.first = first

    def __len__(self) -> int:
        return self.count

    @property
    def labels(self) -> Tensor:
        return torch.full((self.count,), -1)

    def decode(self, index: int) -> Tensor:
        if index % self.each == self.first:
            raise BrokenImage(f"{index}.jpg: cut short")
        return torch.zeros(3, 2, 2, dtype=torch.uint8)


def read(source: ImageSource) -> int:
    return sum(len(batch) for batch in Loader(source, View(1), 10, seed=0).once())


@pytest.mark.parametrize(("count", "each"), [(5, 1), (100, 20), (1_500, 100), (1_500, 101)])
def test_a_handful_or_one_per_cent_is_let_pass(count, each):
    source = Some(count, each, first=each - 1)
    good = read(source)
    broken = count // each
    assert good == count - broken and len(source.broken) == broken
    assert source.broken.summary().startswith(f"some:: {broken} images are broken and left out: {each - 1}.jpg: cut")


@pytest.mark.parametrize(
    ("count", "each", "stopped"), [(20, 3, 18), (300, 40, 240), (1_000, 90, 540), (1_000, 99, 594)]
)
def test_more_stop_the_run_with_the_first_few_names(count, each, stopped):
    source = Some(count, each, first=each - 1)
    with pytest.raises(UnlogitError) as told:
        read(source)
    found = len(source.broken)
    assert f"some:: {found} of the first {stopped} images are broken, which is over 1%" in str(told.value)
    first = "; ".join(f"{place * each - 1}.jpg: cut short" for place in (1, 2, 3))
    assert str(told.value).endswith(f"remove them: {first}; and {found - 3} more")
    assert found > max(5, 0.01 * stopped) >= found - 1


def test_later_epochs_count_no_image_twice():
    source = Some(500, 100)
    loader = Loader(source, View(1), 50, seed=0)
    for position in range(0, 3_000, 50):
        assert len(loader.batch(position)) == 50
    assert sorted(source.broken.reasons) == [0, 100, 200, 300, 400]


def test_two_loaders_of_a_source_share_what_they_met():
    source = Some(50, 25)
    read(source)
    assert set(Loader(source, View(1), 50, seed=0, shuffle=False).batch(0).indices.tolist()).isdisjoint({0, 25})
    assert len(source.broken) == 2


def test_strict_stops_at_the_first():
    source = Some(50, 25, first=20)
    source.broken.strict = True
    with pytest.raises(UnlogitError, match=r"^20\.jpg: cut short; repair or remove it, or leave out --strict"):
        read(source)


def test_the_summary_is_told_once_and_only_where_there_is_one(capsys):
    source = Some(50, 60, first=50)
    assert read(source) == 50 and source.broken.summary() == ""
    source.broken.warn()
    assert capsys.readouterr().err == ""
    source = Some(50, 50)
    read(source)
    source.broken.warn()
    assert capsys.readouterr().err == "unlogit: some:: 1 image is broken and left out: 0.jpg: cut short\n"


def test_a_summary_of_a_source_looks_at_some():
    source = Some(50_000, 1_000)
    assert summary(source, 500).splitlines()[0] == "50,000 images, without labels"
    assert summary(Some(10, 11, 10)).splitlines()[-1] == "10 of 10 decoded: 2 x 2 pixels"
    with pytest.raises(UnlogitError, match=r"none of its images can be decoded \(some:: 3 images are broken"):
        summary(Some(3, 1))
