"""A wrong argument is one line that says what was given, what is allowed and where to read more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from unlogit.arguments import parse
from unlogit.errors import UnlogitError
from unlogit.settings import Betas, Checked, Count


@dataclass(frozen=True)
class Drawing(Checked):
    """Draw."""

    out: Path
    """Folder, which is described in so many words that the description is broken into lines of the box."""
    draws: Count = 4
    """How many."""
    width: Count | None = None
    betas: Betas = (0.0, 0.9)
    ink: Literal["black", "blue"] = "black"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--draws", "abc"], "invalid literal for int() with base 10: 'abc'; must be --draws INT"),
        (["--draw", "3"], "Unrecognized options: --draw, 3; did you mean --draws?"),
        (["--draws"], "Missing value for argument '--draws'. Expected 1 values"),
        (["--ink", "red"], "invalid choice 'red' for argument '--ink'. Expected one of ('black', 'blue')"),
        (["--betas", "0.5", "x"], "must be --betas FLOAT FLOAT"),
        (["--width", "x"], "must be --width {None}|INT"),
        (["a\nb"], "Unrecognized options: a b"),
        (["--draws", "0"], "draws 0: must be at least 1"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_one_line(
    args: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for columns in ("20", "60", "300"):
        monkeypatch.setenv("COLUMNS", columns)
        with pytest.raises(UnlogitError) as error:
            parse(Drawing, "unlogit draw", ["--out", "o", *args])
        line = str(error.value)
        assert "\n" not in line and "│" not in line and "──" not in line
        if columns != "20":
            assert message in line
            assert line.endswith("; see unlogit draw --help") or "must be at least" in line
    assert capsys.readouterr() == ("", "")


def test_a_missing_option_is_named_without_its_description() -> None:
    with pytest.raises(UnlogitError, match=r"^Missing from unlogit draw: --out PATH; see unlogit draw --help$"):
        parse(Drawing, "unlogit draw", [])


def test_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(Drawing, "unlogit draw", ["--help"])
    assert not stop.value.code
    assert "usage: unlogit draw" in capsys.readouterr().out
