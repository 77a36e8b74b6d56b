"""Reads a command's configuration from its arguments, and reports a wrong argument in one line."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import itertools
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from functools import cache
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from unlogit.errors import UnlogitError, unknown
from unlogit.settings import Checked

T = TypeVar("T")

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
BORDER = re.compile(r"(?:│ |  )(.*?) *│?")
"""A line of the box, which has no visible border where the terminal's encoding is not UTF-8."""
RULE = re.compile(r"[─-]{3,}")
HELP = 8
"""Spaces before the description of an option; an option itself has four."""
LONGEST = 600


HELP_ALL = "--help-all"
HELP_OPTIONS = ("-h", "--help", HELP_ALL)


def parse(config: Callable[..., T], prog: str, args: Sequence[str], description: str | None = None) -> T:
    """Return the configuration that the arguments give.

    With --help, options that the configurations do not list as `BASIC` are left out; --help-all prints all.

    Args:
        config: a frozen dataclass, whose fields are the options and their docstrings the help.
        prog: the command, such as "unlogit train".
        args: the arguments after it.
        description: for the help; None takes the docstring of `config`.

    Raises:
        UnlogitError: an option is unknown or missing, or a value is wrong.
        SystemExit: help was asked for, and is printed.
    """
    shortened = HELP_ALL not in args and bool({"-h", "--help"} & set(args))
    args = ["--help" if arg == HELP_ALL else arg for arg in args]
    about = _paragraphs((config.__doc__ if description is None else description) or "")
    if shortened and isinstance(config, type) and _is_abridged(config):
        about += f"\n\nThese are the most used options; {prog} {HELP_ALL} shows all."
    written = io.StringIO()
    try:
        # The parser prints a box of many lines for a wrong argument, and then exits.
        with redirect_stderr(written):
            return tyro.cli(config, prog=prog, args=args, description=about, registry=_registry(shortened))
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
    if name in HELP_OPTIONS:
        print(f"usage: {prog} COMMAND ...\n")
        for each, (config, _) in commands.items():
            print(f"  {each:<13}{(config.__doc__ or '').splitlines()[0]}")
        return
    if name not in commands:
        raise unknown(f"{prog.removeprefix('unlogit ')} command", name, commands)
    config, run = commands[name]
    run(parse(config, f"{prog} {name}", rest))


def help_text(config: type, field: str) -> str:
    """Return the docstring of a dataclass's field as one paragraph; empty where it has none."""
    return next((texts[field] for one in config.__mro__ if field in (texts := _field_docstrings(one))), "")


@cache
def _field_docstrings(config: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(config))
    except (OSError, TypeError):  # Built in, or made while the program runs.
        return {}
    (definition,) = ast.parse(source).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


def _registry(shortened: bool) -> ConstructorRegistry:
    """Return rules by which a configuration's options have whole sentences as help, or only its basic options."""
    registry = ConstructorRegistry()

    @registry.struct_rule
    def rule(info: StructTypeInfo) -> StructConstructorSpec | None:
        if not (isinstance(info.type, type) and issubclass(info.type, Checked)):
            return None
        hints = get_type_hints(info.type, include_extras=True)
        options = []
        for field in dataclasses.fields(info.type):  # type: ignore[arg-type]
            if not shortened or _is_basic(info.type, field.name):
                default = _default(field, info.default)
                hint = _with_default_text(hints[field.name], default)
                options.append(StructFieldSpec(field.name, hint, default, help_text(info.type, field.name)))
        return StructConstructorSpec(info.type, tuple(options))

    return registry


def _with_default_text(hint: Any, default: object) -> Any:
    """Return the type of an option, with what its help says of the default where the parser's text would mislead.

    The parser adds "(default: None)" to a text that says what happens by default, and "(default: )" to arguments of
    which one or more are required.
    """
    if default in (None, (), ""):
        return Annotated[hint, tyro.conf.arg(help_behavior_hint="")]
    if default is tyro.MISSING_NONPROP:
        return Annotated[hint, tyro.conf.arg(help_behavior_hint="(required)")]
    return hint


def _default(field: dataclasses.Field[Any], parent: object) -> Any:
    if isinstance(parent, Checked):
        return getattr(parent, field.name)
    if field.default is not dataclasses.MISSING:
        return field.default
    return tyro.MISSING_NONPROP if field.default_factory is dataclasses.MISSING else field.default_factory()


def _is_basic(config: type[Checked], field: str) -> bool:
    return config.BASIC is None or field in config.BASIC


def _is_abridged(config: type) -> bool:
    """Whether a configuration, or one within it, has options that are not basic."""
    if not issubclass(config, Checked):
        return False
    within = [hint for hint in get_type_hints(config).values() if isinstance(hint, type)]
    return config.BASIC is not None or any(map(_is_abridged, within))


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text.strip()))


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
