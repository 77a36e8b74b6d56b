import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlogit.errors import BrokenImage, UnlogitError, unknown


def test_unknown_lists_what_is_allowed_in_order_and_the_closest():
    error = unknown("fruit", "pair", ["plum", "pear", "apple"])
    assert str(error) == "unknown fruit 'pair': must be one of apple, pear, plum. Did you mean 'pear'?"


def test_unknown_suggests_nothing_where_nothing_is_close():
    assert str(unknown("fruit", "xyz", ["pear"])) == "unknown fruit 'xyz': must be one of pear."


def test_a_broken_image_is_a_users_mistake():
    with pytest.raises(UnlogitError):
        raise BrokenImage("photo.jpg: not an image")


@given(st.text(alphabet="abc:", max_size=8), st.lists(st.text(alphabet="abc", min_size=1, max_size=6), max_size=5))
def test_unknown_takes_any_name_and_says_everything(given, allowed):
    message = str(unknown("thing", given, allowed))
    assert f"'{given}'" in message
    assert all(name in message for name in allowed)
    assert "\n" not in message
