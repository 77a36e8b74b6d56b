import importlib
import sys

import pytest

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


@pytest.mark.parametrize("package", ["images", "classifiers", "analyses"])
def test_every_registered_module_can_be_imported_and_tells_what_it_is(package):
    package = f"unlogit.{package}"
    assert registry.names(package)
    for name in registry.names(package):
        module = registry.module(package, name, "module")
        assert module.__doc__, name


def test_a_package_that_is_missing():
    assert registry.import_optional("json", "hf", "hf:x").loads("1") == 1
    with pytest.raises(UnlogitError, match=r"'hf:x' needs no_such_package: pip install 'unlogit\[hf\]'"):
        registry.import_optional("no_such_package", "hf", "hf:x")
