"""The command `unlogit`: one thin function a command, which alone imports what it needs.

A command's options are made by tyro from its frozen configuration.
"""

from __future__ import annotations

import ast
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from unlogit import __version__, registry
from unlogit.errors import UnlogitError, unknown
from unlogit.outside import plain
from unlogit.runtime.progress import stoppable

INTERRUPTED = "interrupted; the same command goes on from here"
LISTED = ("images", "classifiers", "inverters", "methods", "analyses")


def classify(args: Sequence[str]) -> None:
    """Fit a classifier, as usual or adversarially; the same command again resumes."""
    from unlogit.arguments import parse
    from unlogit.classifier_training import FitLaunch, fit
    from unlogit.runtime.launch import launch

    given = parse(FitLaunch, "unlogit classify", args)
    for name, figures in launch(fit, given.config, given.processes).items():
        print(
            f"{name} accuracy {figures['accuracy']:.1%} "
            f"(95 % interval {figures['low']:.1%} to {figures['high']:.1%}, n = {figures['n']:,})"
        )
    print(f"open it as {given.config.spec}")


def train(args: Sequence[str]) -> None:
    """Train an inverter for a classifier; the same command again resumes."""
    from unlogit.arguments import parse
    from unlogit.training.launch import command, launch

    # The paper's method where none is named.
    method, args = (args[0], args[1:]) if args and not args[0].startswith("-") else ("biggan", args)
    given = parse(command(method), f"unlogit train {method}", args)
    for name, value in launch(given.config, given.processes).items():
        print(f"{name:<16}{value:.4g}")
    print(f"next: unlogit reconstruct PHOTO --inverter {given.config.out / 'inverter'}")


def bench(args: Sequence[str]) -> None:
    """Measure how fast this machine trains and reconstructs."""
    from unlogit.arguments import parse
    from unlogit.training.bench import BenchConfig, table
    from unlogit.training.bench import bench as run

    config = parse(BenchConfig, "unlogit bench", args)
    print(table(config, run(config)))


def reconstruct(args: Sequence[str]) -> None:
    """Reconstruct photos from what a classifier keeps of them."""
    from unlogit.arguments import parse
    from unlogit.reconstruct import GRID, ReconstructConfig
    from unlogit.reconstruct import reconstruct as run

    config = parse(ReconstructConfig, "unlogit reconstruct", args)
    made, broken, view = run(config)
    for one in made:
        print(f"{plain(str(one.file))}: {one.original} -> {one.reconstructed}")
    print(f"Class that the classifier predicts for the photo -> for its reconstruction. {view}")
    print(config.out / f"{GRID}.png")
    if broken:
        reasons = "; ".join(map(str, broken))
        print(f"unlogit: {len(broken)} of {len(config.files)} photos skipped: {reasons}", file=sys.stderr)


def analyse(args: Sequence[str]) -> None:
    """Analyse what inverters keep of images: one page of images, numbers and findings."""
    from unlogit.report import summary
    from unlogit.report.command import analyse as run

    page, parts = run(args)
    print(summary(parts))
    for part in parts:
        if part.silent:
            print(f"nothing to say of {part.name}: {', '.join(part.silent)}")
    print(page)


def study(args: Sequence[str]) -> None:
    """Let people choose between reconstructions: make a study, serve it, read its results."""
    from unlogit.web.study.command import study as run

    run(args)


def explore(args: Sequence[str]) -> None:
    """Change what is left of a picture with sliders, in the browser, and see what it stands for."""
    from unlogit.arguments import parse
    from unlogit.web.explorer.command import ExploreConfig
    from unlogit.web.explorer.command import explore as run

    run(parse(ExploreConfig, "unlogit explore", args))


def list_(args: Sequence[str]) -> None:
    """Name what is known: images, classifiers, inverters, methods or analyses, and the taps of a classifier."""
    if list(args) in (["-h"], ["--help"]):
        print(
            f"usage: unlogit list {{{','.join(LISTED)}}}\n"
            "       unlogit list images SOURCE:NAME    what it holds, and whether any of it is broken\n"
            "       unlogit list classifiers PATTERN   such as 'resnetv2*' or 'torchvision:*'\n"
            "       unlogit list taps CLASSIFIER       such as timm:resnet18; --trust-code lets its files run code\n\n"
            f"{list_.__doc__}"
        )
        return
    if len(args) == 2 and args[0] == "images":
        from unlogit.images import open_images, summary

        source = open_images(args[1])
        print(summary(source))
        if source.broken.reasons:
            print(f"unlogit: {source.broken.summary()}", file=sys.stderr)
        return
    if len(args) == 2 and args[0] == "classifiers":
        from unlogit.classifiers import find

        print("\n".join(find(args[1])))
        return
    trust_code = "--trust-code" in args
    args = [arg for arg in args if arg != "--trust-code"]
    if trust_code and args[:1] != ["taps"]:
        raise UnlogitError("--trust-code: only 'unlogit list taps CLASSIFIER' opens one; leave it out")
    if len(args) == 2 and args[0] == "taps":
        from unlogit.classifiers import open_classifier
        from unlogit.representation.layers import table

        print(table(open_classifier(args[1], trust_code)))
        return
    if len(args) != 1 or args[0] == "taps":
        raise UnlogitError(
            f"list takes one of {', '.join(LISTED)}; or images SOURCE:NAME, classifiers PATTERN, taps CLASSIFIER"
        )
    if args[0] not in LISTED:
        raise unknown("list", args[0], LISTED)
    if args[0] == "inverters":
        from unlogit.methods import known

        print("\n".join(known()) or "no inverter came with this package: train one and give its folder")
        return
    if args[0] == "methods":
        from unlogit.methods import trainable, untrained

        folder = Path(__file__).parent / "methods"
        for usage, names in (
            ("unlogit train METHOD", trainable()),
            ("unlogit reconstruct --method METHOD", untrained()),
        ):
            print(usage)
            for name in names:
                file = folder / name / "__init__.py" if name in trainable() else folder / f"{name}.py"
                print(f"  {name:<18}{_summary(file)}")
        return
    names = registry.names(f"unlogit.{args[0]}")
    width = max(map(len, names)) + 2
    for name in names:
        shown = name.replace("_", "-") if args[0] == "analyses" else name
        print(f"{shown:<{width}}{_summary(Path(__file__).parent / args[0] / f'{name}.py')}")


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "classify": classify,
    "train": train,
    "reconstruct": reconstruct,
    "analyse": analyse,
    "explore": explore,
    "study": study,
    "bench": bench,
    "list": list_,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    command, *args = (sys.argv[1:] if argv is None else argv) or ["--help"]
    # A terminal may know fewer letters than class names, and our own arrows, are written in.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")

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
    with stoppable() as asked:
        try:
            return _guarded(run)
        except Exception:
            if not asked:
                raise
            return _fail(INTERRUPTED, 130)


def _guarded(run: Callable[[], None]) -> int:
    try:
        run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read has read enough, as head has. Python flushes once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UnlogitError as error:
        return _fail(f"error: {error}", 2)
    except OSError as error:
        if error.filename is None:
            raise
        return _fail(f"error: '{error.filename}': {error.strerror}", 2)
    except (MemoryError, RuntimeError) as error:
        # torch reports memory that runs out as a RuntimeError, on a CPU without a class of its own.
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        return _fail("error: not enough memory: give a smaller --batch, --micro-batch, size or network", 2)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or INTERRUPTED, 130)
    return 0


def _fail(message: str, code: int) -> int:
    print(f"unlogit: {plain(' '.join(message.split()))}", file=sys.stderr)
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
