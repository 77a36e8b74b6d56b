import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unlogit.errors import UnlogitError
from unlogit.images._labels import MAX_CLASSES, classes


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
        ([1, "dog"], (), "set: 'dog' names no class; labels must be whole numbers alone or words alone"),
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
    assert list(names) == sorted(set(names))
