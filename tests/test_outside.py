"""Strings from outside: whatever they hold, they can be drawn, written, printed and found again."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from unlogit.outside import data, distinct, encodable, figure_text, file_name, in_order, matching, plain, short_names

ANY = st.text(st.characters(codec=None), max_size=30)
"""Control characters and lone surrogates included."""


@given(ANY)
def test_plain_is_one_line_that_utf_8_takes(text: str) -> None:
    shown = plain(text)
    assert shown.encode() is not None and len(shown.splitlines()) <= 1 and "\x1b" not in shown
    assert encodable(text).encode() is not None
    assert data(text).decode("utf-8", "surrogatepass") == text


@pytest.mark.filterwarnings("ignore:Glyph")
@settings(max_examples=15)
@given(ANY)
@example("$x_1$ costs $5")
@example(r"a\$b$")
@example("_hidden")
@example("\udcff\x00$")
def test_any_text_is_drawn_literally(text: str) -> None:
    figure = Figure(figsize=(2, 1), dpi=40)
    axes = figure.subplots()
    axes.plot([0, 1], label=figure_text(text) or "-")
    axes.set_title(figure_text(text))
    assert len(axes.get_legend_handles_labels()[1]) == 1
    figure.legend()
    figure.savefig(io.BytesIO(), format="png")
    figure.savefig(io.BytesIO(), format="svg")


def test_a_dollar_is_shown_as_one() -> None:
    drawn = Figure().subplots().set_title(figure_text(r"a\$b $c$"))
    assert drawn._preprocess_math(drawn.get_text()) == (r"a\$b $c$", False)


@given(ANY)
@example("../../etc/passwd")
@example("é" * 300)
@example(".")
def test_any_text_names_a_file_in_its_folder(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("names", numbered=True)
    file = folder / f"{file_name(text)}.png"
    file.touch()
    assert [found.name for found in folder.iterdir()] == [file.name] and not file.name.startswith(".")


@pytest.mark.parametrize("name", ["a[1].parquet", "b*.parquet", "c?.parquet", "$d.parquet"])
def test_a_file_of_exactly_that_name_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / "a1.parquet").touch()
    assert matching(f"{tmp_path}/{name}") == [tmp_path / name]


def test_patterns_find_regular_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in ("b.tar", "a.tar"):
        (tmp_path / name).touch()
    (tmp_path / "c.tar").mkdir()
    os.mkfifo(tmp_path / "d.tar")
    assert [file.name for file in matching(f"{tmp_path}/*.tar")] == ["a.tar", "b.tar"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [file.name for file in matching("~/*.tar")] == ["a.tar", "b.tar"]
    assert matching("a\0b") == []


@given(st.lists(st.sampled_from(["crane", "crane (0)", "crane (1)", "owl", "maillot, tank suit", "maillot"])))
def test_distinct_names_are_distinct(names: list[str]) -> None:
    for found in (distinct(tuple(names)), short_names(tuple(names))):
        assert len(found) == len(names) == len(set(found))


def test_names_that_are_distinct_stay() -> None:
    assert distinct(("owl", "crane", "crane")) == ("owl", "crane (1)", "crane (2)")
    assert short_names(("great owl, Strix", "crane")) == ("great owl", "crane")


@given(st.lists(st.integers(0, 10**6).map(str), unique=True))
def test_whole_numbers_are_in_the_order_of_their_values(names: list[str]) -> None:
    assert [int(name) for name in in_order(names)] == sorted(map(int, names))


def test_a_console_of_few_letters_is_no_error() -> None:
    say = "cli.COMMANDS['say'] = lambda args: print('→ \\udcff')"
    code = f"import sys; from unlogit import cli; {say}; sys.exit(cli.main(['say']))"
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(__file__).parents[1] / "src"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert done.returncode == 0 and done.stdout == b"\\u2192 \\udcff\n"
