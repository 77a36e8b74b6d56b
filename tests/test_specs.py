"""The grammar of `source:name?options`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlogit import specs
from unlogit.errors import UnlogitError
from unlogit.settings import Bounds, Checked, Count
from unlogit.specs import Spec

LETTERS = st.one_of(st.sampled_from("[]?&=%:,~/\\ abx25B\udc80"), st.characters())
TEXT = st.text(LETTERS, max_size=24)
SOURCES = st.from_regex(r"[a-z_]+", fullmatch=True)
KEYS = st.from_regex(specs.KEY, fullmatch=True)


def specs_of(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    options = st.lists(st.tuples(KEYS, values), max_size=3).map(tuple)
    return st.builds(Spec, SOURCES, values, options).map(str)


NESTED = st.recursive(st.text("ab/*?.&=% ", max_size=8), specs_of, max_leaves=8)


@dataclass(frozen=True)
class Options(Checked):
    size: Count = 8
    rate: Annotated[float, Bounds(0, 1)] = 0.5
    mean: Annotated[tuple[float, float, float], Bounds()] | None = None
    names: tuple[str, ...] = ()
    reduce: Literal["mean", "max"] | None = None
    pretrained: bool = True
    file: Path | None = None
    text: str | None = None
    either: int | str | None = None


def read(rest: str) -> tuple[str, Options]:
    return specs.read(Options, rest, f"source:{rest}")


def is_matched(text: str) -> bool:
    depth = 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if depth < 0:
            return False
    return depth == 0


@given(SOURCES, TEXT, st.lists(st.tuples(KEYS, TEXT)))
def test_a_spec_is_parsed_as_it_was_formatted(source: str, name: str, options: list[tuple[str, str]]) -> None:
    try:
        spec = Spec(source, name, tuple(options))
    except UnlogitError as error:
        assert "brackets must match" in str(error) and not is_matched(name)
    else:
        assert Spec.parse(str(spec)) == spec


@given(SOURCES, KEYS, NESTED, NESTED)
def test_brackets_nest(source: str, key: str, name: str, value: str) -> None:
    outer = Spec(source, name, ((key, value), ("limit", "3")))
    parsed = Spec.parse(str(outer))
    assert parsed.name == name and parsed.options == ((key, value), ("limit", "3"))
    assert Spec.parse(f"x:?spec=[{outer}]&n=1").options[0] == ("spec", str(outer))


@given(TEXT.filter(bool), st.sampled_from(["", "/", "/:?=,", ":/*"]))
def test_percent_encoded_values_of_earlier_versions_are_decoded(value: str, safe: str) -> None:
    written = quote(value, safe=safe, errors="surrogateescape")
    assert Spec.parse(f"nearest:?images={written}&size=32").options == (("images", value), ("size", "32"))


@given(TEXT)
def test_any_text_is_parsed_or_refused_in_one_line(text: str) -> None:
    for call in (
        Spec.parse,
        lambda rest: specs.read(Options, rest, rest),
        lambda rest: specs.split(rest, "images", "unlogit.images"),
    ):
        try:
            call(text)
        except UnlogitError as error:
            assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("rest", "name", "options"),
    [
        ("a/b", "a/b", {}),
        ("a?", "a", {}),
        ("a??", "a?", {}),
        ("?text=x", "", {"text": "x"}),
        ("a-??.tar", "a-??.tar", {}),
        ("a-?.tar?text=x", "a-?.tar", {"text": "x"}),
        ("[0-9]?.png", "[0-9]?.png", {}),
        ("[0-9]?text=x", "[0-9]", {"text": "x"}),
        ("x[a?size=3", "x[a", {"size": 3}),
        ("a & [b]&size=3", "a & [b]&size=3", {}),
        (r"C:\data\[old]?size=3", r"C:\data\[old]", {"size": 3}),
        ("[lite0?size=128]&text=[parquet:train-*.parquet]", "lite0?size=128", {"text": "parquet:train-*.parquet"}),
        ("[lite0?size=128]?text=[parquet:train-*.parquet]", "lite0?size=128", {"text": "parquet:train-*.parquet"}),
        ("[packaged:lite0]?text=a[b]", "packaged:lite0", {"text": "a[b]"}),
        ("x?text=[hf:a?split=b&label=[c?d=e]]&size=3", "x", {"text": "hf:a?split=b&label=[c?d=e]", "size": 3}),
        ("x?text=what is a {}?", "x", {"text": "what is a {}?"}),
        # As earlier versions wrote them.
        ("x?text=hf:a%3Fsplit=b%26label=c&size=3", "x", {"text": "hf:a?split=b&label=c", "size": 3}),
        ("x?text=packaged:lite0?size=128&size=3", "x", {"text": "packaged:lite0?size=128", "size": 3}),
        ("x?text=c++ d%26e", "x", {"text": "c++ d&e"}),
    ],
)
def test_names_and_options(rest: str, name: str, options: dict[str, object]) -> None:
    assert read(rest) == (name, Options(**options))  # type: ignore[arg-type]


def test_values_have_the_types_of_the_fields() -> None:
    given = "?size=3&rate=1e-1&mean=0.5&names=a,b&reduce=max&pretrained=false&either=4"
    assert read(given)[1] == Options(3, 0.1, (0.5,) * 3, ("a", "b"), "max", False, either=4)
    assert read("?either=four")[1].either == "four"
    assert read("?file=~/x")[1].file == Path.home() / "x"
    assert read("?file=./~/x")[1].file == Path.cwd() / "~" / "x"


def test_a_file_whose_name_holds_percent_signs_is_found(tmp_path: Path) -> None:
    (tmp_path / "a%20b").touch()
    assert read(f"?file={tmp_path}/a%20b")[1].file == tmp_path / "a%20b"
    assert read(f"?file={tmp_path}/c%20d")[1].file == tmp_path / "c d"
    assert read(f"?file=[{tmp_path}/c%20d]")[1].file == tmp_path / "c%20d"


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("a?sise=3", "unknown option of 'source:a[?]sise=3' 'sise': must be one of .* Did you mean 'size'"),
        ("a?size=", "option 'size=' of .*: give each option once, as size=VALUE"),
        ("a?size=1&size=2", "option 'size=2' of .*: give each option once"),
        ("a?size=1&text", "option 'text=' of .*: give each option once, as text=VALUE"),
        ("a?size=big", "option 'size=big' of .*: must be a whole number"),
        ("a?size=0", "'source:a[?]size=0': size 0: must be at least 1"),
        ("a?rate=nan", "rate nan: must be a finite number"),
        ("a?rate=x", "option 'rate=x' of .*: must be a number"),
        ("a?mean=1,2", "option 'mean=1,2' of .*: must be 3 values with commas between, each a number"),
        ("a?mean=inf", "mean inf: must be a finite number"),
        ("a?pretrained=no", "option 'pretrained=no' of .*: must be true or false"),
        ("a?reduce=maxx", "option 'reduce=maxx' of .*: must be one of max, mean. Did you mean 'max'"),
    ],
)
def test_a_wrong_option_is_one_clear_line(rest: str, message: str) -> None:
    with pytest.raises(UnlogitError, match=message):
        read(rest)


def test_a_name_can_stand_for_an_option() -> None:
    assert specs.read(Options, "x", "s:x", name_is="text")[1].text == "x"
    with pytest.raises(UnlogitError, match="give each option once"):
        specs.read(Options, "x?text=y", "s:x?text=y", name_is="text")


@pytest.mark.parametrize(
    "spec",
    [lambda: Spec("s", "a", (("b c", "d"),)), lambda: Spec("s", "[a?b=c", (("d", "e"),)), lambda: Spec.parse("s")],
)
def test_what_the_grammar_cannot_write_is_one_clear_line(spec: object) -> None:
    with pytest.raises(UnlogitError, match=r"source:name"):
        spec()  # type: ignore[operator]


@pytest.mark.parametrize(("spec", "rest"), [("folder:", ""), ("folder:c:/d", "c:/d"), ("folder:x?n=1", "x?n=1")])
def test_split_cuts_at_the_first_colon_alone(spec: str, rest: str) -> None:
    module, found = specs.split(spec, "images", "unlogit.images")
    assert module.__name__ == "unlogit.images.folder" and found == rest


def test_split_asks_for_a_prefix_and_shows_the_known_ones() -> None:
    with pytest.raises(UnlogitError, match="images 'photos' has no source prefix.* folder:, .*parquet:"):
        specs.split("photos", "images", "unlogit.images")


def test_options_of_former_versions_are_read_under_their_present_names() -> None:
    @dataclass(frozen=True)
    class Options(Checked):
        layer: str = "logits"

    assert specs.read(Options, "?tap=penultimate", "any:?tap=penultimate") == ("", Options("penultimate"))
