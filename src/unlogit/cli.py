"""The command `unlogit`: one thin function a command, which alone imports what it needs.

A command's options are made by tyro from its frozen configuration.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from unlogit import __version__, registry
from unlogit.errors import UnlogitError, unknown

LISTED = ("images", "classifiers", "inverters", "analyses")


def classify(args: Sequence[str]) -> None:
    """Fit a small classifier, as usual or adversarially."""
    import tyro

    from unlogit.classifiers import FitConfig, fit

    config = tyro.cli(FitConfig, prog="unlogit classify", args=args)
    for name, figures in fit(config).items():
        print(
            f"{name} accuracy {figures['accuracy']:.1%} "
            f"(95 % interval {figures['low']:.1%} to {figures['high']:.1%}, n = {figures['n']:,})"
        )
    print(f"open it as small:{config.out}")


def train(args: Sequence[str]) -> None:
    """Train an inverter for a classifier; the same command again resumes."""
    import tyro

    from unlogit.training.launch import Launch, launch

    given = tyro.cli(Launch, prog="unlogit train", args=args)
    for name, value in launch(given.config, given.processes).items():
        print(f"{name:<16}{value:.4g}")
    print(f"open it as {given.config.out / 'inverter'}")


def reconstruct(args: Sequence[str]) -> None:
    """Reconstruct photos from what a classifier keeps of them."""
    import tyro

    from unlogit.reconstruct import GRID, ReconstructConfig
    from unlogit.reconstruct import reconstruct as run

    config = tyro.cli(ReconstructConfig, prog="unlogit reconstruct", args=args)
    made, broken = run(config)
    for one in made:
        print(f"{one.file}: {one.original} -> {one.reconstructed}")
    print(config.out / f"{GRID}.png")
    if broken:
        reasons = "; ".join(map(str, broken))
        print(f"unlogit: {len(broken)} of {len(config.photos)} photos skipped: {reasons}", file=sys.stderr)


def report(args: Sequence[str]) -> None:
    """Write a page of what inverters keep of held-out pictures."""
    from unlogit.report import summary
    from unlogit.report.command import report as run

    page, parts = run(args)
    print(f"{summary(parts)}\n{page}")


def list_(args: Sequence[str]) -> None:
    """Name what is known: images, classifiers, inverters or analyses."""
    if list(args) in (["-h"], ["--help"]):
        print(f"usage: unlogit list {{{','.join(LISTED)}}}\n\n{list_.__doc__}")
        return
    if len(args) != 1:
        raise UnlogitError(f"list takes one of {', '.join(LISTED)}")
    if args[0] not in LISTED:
        raise unknown("list", args[0], LISTED)
    if args[0] == "inverters":
        from unlogit.inverters import known

        print("\n".join(known()) or "no inverter came with this package: train one and give its folder")
        return
    for name in registry.names(f"unlogit.{args[0]}"):
        print(f"{name:<14}{_summary(Path(__file__).parent / args[0] / f'{name}.py')}")


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "classify": classify,
    "train": train,
    "reconstruct": reconstruct,
    "report": report,
    "list": list_,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    command, *args = (sys.argv[1:] if argv is None else argv) or ["--help"]

    def run() -> None:
        if command in ("-h", "--help"):
            print(_help())
        elif command == "--version":
            print(f"unlogit {__version__}")
        elif command in COMMANDS:
            COMMANDS[command](args)
        else:
            raise unknown("command", command, COMMANDS)

    return guarded(run)


def guarded(run: Callable[[], None]) -> int:
    """Run something for a user: 0, 2 after a mistake in what was given, told in one line, 130 when interrupted."""
    try:
        run()
    except UnlogitError as error:
        return _fail(f"error: {error}", 2)
    except OSError as error:
        if error.filename is None:
            raise
        return _fail(f"error: '{error.filename}': {error.strerror}", 2)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "interrupted; the same command goes on from here", 130)
    return 0


def _fail(message: str, code: int) -> int:
    print(f"unlogit: {' '.join(message.split())}", file=sys.stderr)
    return code


def _help() -> str:
    lines = [f"  {name:<14}{command.__doc__}" for name, command in COMMANDS.items()]
    about = "What a frozen image classifier still knows about a picture once only its logits are left."
    return "\n".join(
        ["usage: unlogit COMMAND ...", "", about, "", *lines, "", "unlogit COMMAND --help tells a command's options."]
    )


def _summary(module: Path) -> str:
    """First line of a module's docstring, read without importing what the module needs."""
    return (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
