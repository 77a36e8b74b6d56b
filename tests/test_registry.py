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


ALLOWED = ("root", "split")


@pytest.mark.parametrize(
    ("rest", "name", "options"),
    [
        ("a/b", "a/b", {}),
        ("a?root=x/y&split=train", "a", {"root": "x/y", "split": "train"}),
        ("a?root=c++ d%26e", "a", {"root": "c++ d&e"}),
        ("?root=x", "", {"root": "x"}),
        ("a-??.tar", "a-??.tar", {}),
        ("a-?.tar?split=train", "a-?.tar", {"split": "train"}),
        ("a?", "a", {}),
    ],
)
def test_options(rest, name, options):
    assert registry.options(rest, f"x:{rest}", ALLOWED) == (name, options)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("a?rot=x", "unknown option of 'x:a\\?rot=x' 'rot': must be one of root, split. Did you mean 'root'"),
        ("a?root=", "option 'root=' of .*: give each option once, as root=VALUE"),
        ("a?root=x&root=y", "option 'root=y' of .*: give each option once"),
        ("a?root=x&split", "option 'split' of .*: give each option once, as split=VALUE"),
    ],
)
def test_wrong_options(rest, message):
    with pytest.raises(UnlogitError, match=message):
        registry.options(rest, f"x:{rest}", ALLOWED)


@given(st.text(max_size=30))
def test_any_options_are_read_or_refused(rest):
    try:
        name, options = registry.options(rest, f"x:{rest}", ALLOWED)
    except UnlogitError as error:
        assert "option" in str(error)
    else:
        assert rest.startswith(name) and set(options) <= set(ALLOWED)


def test_a_package_that_is_missing():
    assert registry.needed("json", "hf", "hf:x").loads("1") == 1
    with pytest.raises(UnlogitError, match=r"'hf:x' needs no_such_package: pip install 'unlogit\[hf\]'"):
        registry.needed("no_such_package", "hf", "hf:x")
