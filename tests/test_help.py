"""Every option of every command is described by whole sentences; the rare ones are left out of the short help."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import get_type_hints

import pytest

from unlogit import analyses
from unlogit.arguments import help_text, parse
from unlogit.classifier_training import FitLaunch
from unlogit.invert import InvertConfig
from unlogit.listing import COMMANDS as LISTS
from unlogit.methods import trainable
from unlogit.reconstruct import ReconstructConfig
from unlogit.report.command import AnalyseConfig
from unlogit.settings import Checked
from unlogit.training.bench_config import BenchConfig
from unlogit.training.launch import command
from unlogit.web.explorer.command import ExploreConfig
from unlogit.web.study.command import COMMANDS as STUDY

CONFIGS = (
    *map(command, trainable()),
    *(FitLaunch, ReconstructConfig, InvertConfig, ExploreConfig, BenchConfig, AnalyseConfig),
    *(config for config, _ in (*STUDY.values(), *LISTS.values())),
    *(analyses.get(name).Config for name in analyses.names()),
)


BANNED = re.compile(
    r"\b(tells?|told|pictures?|may hold|how many|who comes|what is named|stands in|where it is not given|goes? on)\b"
    r"|^(Which|Whose|Where|What|How many|Those|These|Stands)\b"
)
"""Words that no other tool's help has, or a question in place of a noun."""


def options(config: type) -> Iterator[tuple[type, str]]:
    """Yield each option of a configuration and of those within it, with the class that has it."""
    hints = get_type_hints(config)
    for field in dataclasses.fields(config):
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, Checked):
            yield from options(hint)
        else:
            yield config, field.name


OPTIONS = sorted({(f"{config.__module__}.{config.__name__}.{name}", help_text(config, name))
                  for each in CONFIGS for config, name in options(each)})  # fmt: skip


@pytest.mark.parametrize(("option", "text"), OPTIONS, ids=[option for option, _ in OPTIONS])
def test_an_option_is_described_by_whole_sentences(option: str, text: str) -> None:
    assert re.match(r"[A-Z0-9]", text), (option, text)
    assert text.endswith("."), (option, text)
    assert not re.match(r"(Of|By|As|To) ", text), (option, text)
    assert "  " not in text and "\n" not in text
    assert not BANNED.search(text), (option, text)


@pytest.mark.parametrize("config", sorted({config for each in CONFIGS for config, _ in options(each)}, key=repr))
def test_basic_options_are_options_each_once(config: type[Checked]) -> None:
    basic = config.BASIC or ()
    assert len(set(basic)) == len(basic)
    assert set(basic) <= {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Ink(Checked):
    """Colour of the line."""

    BASIC = ("blue",)

    blue: int = 0
    """Amount of blue."""
    green: int = 0
    """Amount of green."""


@dataclasses.dataclass(frozen=True)
class Draw(Checked):
    """Draw a line.

    A second paragraph, which is broken
    "here" in the source.
    """

    ink: Ink = dataclasses.field(default_factory=Ink)
    width: int = 3
    """Width of the line, in a sentence that is broken in its source
    3 words in."""


def shown(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit):
        parse(Draw, "unlogit draw", args)
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())


def test_help_has_the_basic_options_and_help_all_the_others_too(capsys: pytest.CaptureFixture[str]) -> None:
    short, whole = shown(capsys, "--help"), shown(capsys, "--help-all")
    assert "Amount of blue. (default: 0)" in short and "Amount of blue. (default: 0)" in whole
    assert "green" not in short and "--ink.green INT Amount of green." in whole
    assert "unlogit draw --help-all shows all" in short and "--help-all" not in whole
    assert parse(Draw, "unlogit draw", ["--ink.green", "2"]).ink.green == 2


def test_a_sentence_is_one_line_where_there_is_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit):
        parse(Draw, "unlogit draw", ["--help"])
    said = capsys.readouterr().out
    assert "in a sentence that is broken in its source 3 words in. (default: 3)" in said
    assert 'which is broken "here" in the source.' in said


def test_a_radius_is_read_and_shown_as_a_fraction(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(FitLaunch, "unlogit classify", ["--help-all"])
    assert "(default: 8/255)" in capsys.readouterr().out
    for text, value in (("4/255", 4 / 255), ("0.1", 0.1)):
        given = parse(FitLaunch, "unlogit classify", ["--out", "o", "--epsilon", text])
        assert given.config.epsilon == value


def test_what_is_not_given_by_default_is_said_in_words_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for config, _ in STUDY.values():
        with pytest.raises(SystemExit):
            parse(config, "unlogit study", ["--help-all"])
    said = " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    assert "(default: None)" not in said and "(default: )" not in said
    assert "NAME=FOLDER sets the name in the results. (required)" in said
    assert "Default: all pairs. --trials" in said
