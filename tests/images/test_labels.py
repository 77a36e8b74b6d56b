import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unlogit.errors import UnlogitError
from unlogit.images._labels import MAX_CLASSES, classes
from unlogit.outside import in_order


@pytest.mark.parametrize(
    ("values", "names", "labels", "expected"),
    [
        ([2, 0, 1], (), [2, 0, 1], ("0", "1", "2")),
        ([1, None, -5], ("a", "b", "c"), [1, -1, -1], ("a", "b", "c")),
        (["dog", None, "cat", "dog"], (), [1, -1, 0, 1], ("cat", "dog")),
        (["dog", "cat"], ("dog", "owl", "cat"), [0, 2], ("dog", "owl", "cat")),
        ([None, None], ("a", "b"), [-1, -1], ()),
        ([-1, -1], (), [-1, -1], ()),
        ([], (), [], ()),
    ],
)
def test_labels_and_names(values, names, labels, expected):
    found, known = classes(values, "set", names)
    assert found.tolist() == labels and found.dtype == torch.int64 and known == expected


@pytest.mark.parametrize(
    ("values", "names", "message"),
    [
        ([1, "dog"], (), "set: 'dog' names no class; labels must be all whole numbers or all words"),
        ([1.5], (), "set: '1.5' names no class"),
        ([3], ("a", "b"), "set: has a label 3, but only 2 classes are named"),
        (["owl"], ("a", "b"), "set: class 'owl' is not among the 2 that are named"),
        ([MAX_CLASSES], (), "labels must count from 0"),
        ([2**70], (), "labels must count from 0"),
    ],
)
def test_what_names_no_class(values, names, message):
    with pytest.raises(UnlogitError, match=message):
        classes(values, "set", names)


@given(st.lists(st.none() | st.text(max_size=3), max_size=20))
def test_words_come_back(values):
    labels, names = classes(values, "set")
    assert [None if label < 0 else names[label] for label in labels.tolist()] == values
    assert list(names) == in_order(set(names))


def test_names_that_are_whole_numbers_are_sorted_by_value():
    labels, names = classes([str(number) for number in range(12)], "set")
    assert labels.tolist() == list(range(12)) and names[10] == "10"
    assert classes(["10", "9", "x"], "set")[1] == ("10", "9", "x")


def test_a_lone_surrogate_in_a_name_is_escaped():
    assert classes(["a\ud800"], "set")[1] == ("a\\ud800",)


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, 1.5, b"cat"])
def test_other_types_name_no_class(value):
    with pytest.raises(UnlogitError, match="set: .* names no class; labels must be all whole numbers or all words"):
        classes([value, value], "set")


def test_numbers_of_any_size():
    assert classes([-(10**30), 0], "set")[0].tolist() == [-1, 0]
