"""A state fits into a link and comes back; whatever else is in a link is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlogit.errors import UnlogitError
from unlogit.web.explorer.state import ATTACKS, CLASS_RANGE, CLASSES, CONTROLS, QUERY, RANGES, SEEDS, State

ADDRESSES = st.sampled_from(["", "photo/cat", "set/12", f"dropped/{'0a' * 16}"])


@st.composite
def states(draw: Any) -> State:
    numbers = {name: draw(st.floats(reach.least, reach.most)) for name, reach in RANGES.items()}
    names = draw(st.lists(st.text(min_size=1, max_size=40), max_size=CLASSES, unique=True))
    amounts = st.floats(CLASS_RANGE.least, CLASS_RANGE.most)
    return State(
        image=draw(ADDRESSES),
        other=draw(ADDRESSES),
        plus=draw(ADDRESSES),
        minus=draw(ADDRESSES),
        control=draw(st.sampled_from(CONTROLS)),
        attack=draw(st.sampled_from(ATTACKS)),
        seed=draw(st.integers(0, SEEDS - 1)),
        classes=tuple((name, draw(amounts)) for name in names),
        **numbers,
    )


@given(states())
def test_there_and_back(state: State) -> None:
    assert State.of_query(state.query()) == state


@given(
    st.text()
    | st.lists(st.tuples(st.sampled_from([*RANGES, "class", "seed", "attack"]), st.text())).map(
        lambda pairs: "&".join(f"{key}={value}" for key, value in pairs)
    )
)
def test_any_link_is_a_state_or_a_mistake_told_in_one_line(query: str) -> None:
    try:
        state = State.of_query(query)
    except UnlogitError as error:
        assert len(str(error)) < 1_000
    else:
        assert State.of_query(state.query()) == state


def test_the_default_is_an_empty_link() -> None:
    assert State().query() == ""
    assert State.of_query("") == State()


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("shift=99", "shift 99: must be -3 to 3"),
        ("shift=nan", "must be a number"),
        ("shift=", "must be a number"),
        ("shif=1", "Did you mean 'shift'?"),
        ("attack=cw", "must be one of fgsm, none, pgd"),
        ("control=half", "must be one of none, random"),
        ("plus=/etc/passwd", "not an address of the gallery"),
        ("image=/etc/passwd", "not an address of the gallery"),
        ("image=photo/../secret", "not an address of the gallery"),
        ("seed=-1", "seed -1"),
        ("seed=1e300", "seed"),
        ("class=11 cat", "must be -10 to 10"),
        ("class=1 a&class=1 b&class=1 c&class=1 d", "at most 3"),
        ("class=1 a&class=2 a", "different"),
        ("x" * (QUERY + 1), "at most"),
    ],
)
def test_what_is_not_allowed(query: str, told: str) -> None:
    with pytest.raises(UnlogitError, match=told):
        State.of_query(query)
