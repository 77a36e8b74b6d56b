import importlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlogit import registry
from unlogit.errors import UnlogitError


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A package of two sources beside a private module."""
    name = "made_up_sources"
    folder = tmp_path / name
    folder.mkdir()
    for file in ("__init__", "_base", "pears", "apples"):
        (folder / f"{file}.py").write_text(f"FILE = {file!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield name
    for loaded in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[loaded]


def test_names_are_the_public_modules_and_import_none_of_them(sources):
    assert registry.names(sources) == ["apples", "pears"]
    assert f"{sources}.apples" not in sys.modules


def test_a_new_file_is_a_new_source(sources, tmp_path):
    (tmp_path / sources / "quinces.py").write_text("FILE = 'quinces'\n")
    assert registry.module(sources, "quinces", "fruit").FILE == "quinces"


@pytest.mark.parametrize("name", ["_base", "__init__", "appels", "", "pears.x"])
def test_what_is_not_a_public_module_is_unknown(sources, name):
    with pytest.raises(UnlogitError, match="unknown fruit .*: must be one of apples, pears"):
        registry.module(sources, name, "fruit")


def test_the_likely_name_is_suggested(sources):
    with pytest.raises(UnlogitError, match="Did you mean 'apples'"):
        registry.module(sources, "appels", "fruit")


@pytest.mark.parametrize(
    ("spec", "rest"), [("pears:", ""), ("pears:a/b", "a/b"), ("pears:c:/d", "c:/d"), ("pears:x?n=1", "x?n=1")]
)
def test_split_cuts_at_the_first_colon_alone(sources, spec, rest):
    module, found = registry.split(spec, "fruit", sources)
    assert module.FILE == "pears"
    assert found == rest


def test_split_asks_for_a_prefix_and_shows_the_known_ones(sources):
    with pytest.raises(UnlogitError, match="fruit 'pears' has no source prefix.* apples:, pears:"):
        registry.split("pears", "fruit", sources)


@given(st.text(max_size=20))
def test_any_string_opens_a_known_source_or_is_told_as_one_mistake(spec):
    try:
        module, rest = registry.split(spec, "images", "unlogit.images")
    except UnlogitError as error:
        assert "images" in str(error)
    else:
        assert spec == f"{module.__name__.rpartition('.')[2]}:{rest}"


@pytest.mark.parametrize("package", ["images", "classifiers", "analyses"])
def test_every_registered_module_can_be_imported_and_tells_what_it_is(package):
    package = f"unlogit.{package}"
    assert registry.names(package)
    for name in registry.names(package):
        module = registry.module(package, name, "module")
        assert module.__doc__, name
