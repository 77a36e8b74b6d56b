"""Reads a command's configuration from its arguments, and reports a wrong argument in one line."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from typing import Any, TypeVar

import tyro

from unlogit.errors import UnlogitError, unknown

T = TypeVar("T")

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
BORDER = re.compile(r"(?:│ |  )(.*?) *│?")
"""A line of the box, which has no visible border where the terminal's encoding is not UTF-8."""
RULE = re.compile(r"[─-]{3,}")
HELP = 8
"""Spaces before the description of an option; an option itself has four."""
LONGEST = 600


def parse(config: Callable[..., T], prog: str, args: Sequence[str], description: str | None = None) -> T:
    """Return the configuration that the arguments give.

    Args:
        config: a frozen dataclass, whose fields are the options.
        prog: the command, such as "unlogit train".
        args: the arguments after it.
        description: for the help; None takes the docstring of `config`.

    Raises:
        UnlogitError: an option is unknown or missing, or a value is wrong.
        SystemExit: help was asked for, and is printed.
    """
    written = io.StringIO()
    try:
        # The parser prints a box of many lines for a wrong argument, and then exits.
        with redirect_stderr(written):
            return tyro.cli(config, prog=prog, args=args, description=description)
    except SystemExit as stop:
        if not stop.code:
            raise
        text, written = written.getvalue(), io.StringIO()
        raise UnlogitError(_in_one_line(text, prog)) from stop
    finally:
        print(written.getvalue(), end="", file=sys.stderr)


Commands = Mapping[str, tuple[type[Any], Callable[[Any], None]]]
"""Subcommands by name: a configuration, and what is done with it."""


def run_subcommand(commands: Commands, prog: str, args: Sequence[str]) -> None:
    """Run the subcommand that the first argument names, or print them all where it is missing or asks for help.

    Args:
        commands: by name.
        prog: the command, such as "unlogit study".
        args: the arguments after it.

    Raises:
        UnlogitError: there is no such subcommand, or an argument of it is wrong.
        SystemExit: help was asked for, and is printed.
    """
    name, *rest = args or ["--help"]
    if name in ("-h", "--help"):
        print(f"usage: {prog} COMMAND ...\n")
        for each, (config, _) in commands.items():
            print(f"  {each:<13}{(config.__doc__ or '').splitlines()[0]}")
        return
    if name not in commands:
        raise unknown(f"{prog.removeprefix('unlogit ')} command", name, commands)
    config, run = commands[name]
    run(parse(config, f"{prog} {name}", rest))


def _in_one_line(box: str, prog: str) -> str:
    """Return what a box says: the mistake, what is allowed or meant, and where the help is."""
    sections: list[list[str]] = [[]]
    # The first line is the title, which says less than the text.
    for line in COLOUR.sub("", box).splitlines()[1:]:
        if line.startswith("╰"):
            continue
        content = match[1] if (match := BORDER.fullmatch(line)) else line
        if RULE.fullmatch(content.strip()):
            sections.append([])
        elif content.strip():
            sections[-1].append(content)
    parts = [part for section in sections if section and (part := _section(section))]
    return f"{'; '.join(parts)[:LONGEST]}; see {prog} --help"


def _section(lines: Sequence[str]) -> str:
    heading = " ".join(line.strip() for line in lines if not line.startswith(" "))
    options = [line.strip() for line in lines if line.startswith(" ") and not line.startswith(" " * HELP)]
    if heading.startswith("For full helptext"):
        return ""
    if heading == "Argument helptext:":
        return f"must be {options[0]}"
    if heading == "Perhaps you meant:":
        return f"did you mean {' or '.join(option.split()[0] for option in options if option.startswith('-'))}?"
    return " ".join([heading, ", ".join(options)]).strip().rstrip(".")
