"""Packages export what they say, though they import it at first use."""

from __future__ import annotations

import importlib

import pytest

PACKAGES = (
    "unlogit",
    *(f"unlogit.{name}" for name in ("analyses", "classifier_training", "methods", "report", "training")),
)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_no_other(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None, name
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing
