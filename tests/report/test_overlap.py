"""A report says of training images what was compared, and warns where they are the images it asks about."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest

from unlogit.analyses import Evidence
from unlogit.images import ImageSource, open_images
from unlogit.methods import Inverter
from unlogit.report.overlap import describe, warnings


def said(inverter: Inverter, source: ImageSource, **others: ImageSource) -> tuple[str, list[str]]:
    evidence = Evidence(source, {"mine": inverter}, limit=4, others=others)
    return describe(evidence), warnings(evidence)


@pytest.fixture
def trained(tiny_inverters: dict[str, Inverter]) -> Callable[..., Inverter]:
    """An inverter that records these facts."""

    def make(**facts: object) -> Inverter:
        inverter = deepcopy(tiny_inverters["standard"])
        inverter.facts = {**inverter.facts, **facts}
        return inverter

    return make


@pytest.fixture
def source() -> ImageSource:
    return open_images("scenes:count=20")


@pytest.mark.parametrize(
    "facts",
    [
        {"training_images": "scenes:count=20"},
        {"training_fingerprint": open_images("scenes:train,count=20").fingerprint()},
        {"training_fingerprint": "a#1#b", "start": "x", "earlier_training": ["scenes:count=20"]},
    ],
)
def test_the_very_images(trained: Callable[..., Inverter], source: ImageSource, facts: dict[str, object]) -> None:
    text, lines = said(trained(**facts), source)
    assert text.startswith("mine: trained on these very images") and "another" not in text
    assert lines == ["mine was trained on these very images: its metrics show what it memorised; give other images"]
    assert said(trained(**facts), open_images("scenes:test,count=20"), kind=source)[1] == lines


def test_another_dataset(trained: Callable[..., Inverter], source: ImageSource) -> None:
    print_ = open_images("scenes:test,count=20").fingerprint()
    text, lines = said(trained(training_fingerprint=print_, training_images="scenes:test,count=20"), source)
    assert not lines and text.startswith("mine: trained on another dataset (scenes:test,count=20).")
    assert text.endswith("single images that two of them share were not looked for.")


@pytest.mark.parametrize("facts", [{}, {"training_fingerprint": "a#1#b", "start": "elsewhere"}])
def test_what_is_not_known_is_not_claimed(
    trained: Callable[..., Inverter], source: ImageSource, facts: dict[str, object]
) -> None:
    text, lines = said(trained(**facts), source)
    assert not lines and text.startswith("mine: no complete record of the training images, so that it may have seen")


def test_what_looks_images_up(source: ImageSource, tiny_inverters: dict[str, Inverter]) -> None:
    near = tiny_inverters["nearest"]
    assert said(near, source)[0].startswith("mine: looks images up in another dataset (scenes:count=40)")
    assert said(near, near.source)[1]
