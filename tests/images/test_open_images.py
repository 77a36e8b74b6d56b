import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlogit import registry
from unlogit.errors import UnlogitError
from unlogit.images import open_images


def test_sources_are_the_modules():
    assert {"folder", "parquet", "scenes"} <= set(registry.names("unlogit.images"))


def test_an_unknown_prefix_lists_the_known():
    with pytest.raises(
        UnlogitError, match=r"unknown images prefix 'scene': must be one of .*scenes.*\. Did you mean 'scenes'"
    ):
        open_images("scene:test")
    with pytest.raises(UnlogitError, match=r"images 'photos' has no source prefix.*folder:"):
        open_images("photos")


@given(
    st.text(max_size=20).filter(lambda s: s.partition(":")[0] not in registry.names("unlogit.images") or ":" not in s)
)
def test_anything_else_is_an_error_of_the_users(spec):
    with pytest.raises(UnlogitError, match="prefix"):
        open_images(spec)
