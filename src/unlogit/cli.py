"""The command `unlogit`: one thin function per command, which imports only what it needs.

tyro builds a command's options from its frozen configuration.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Callable, Sequence

from unlogit import __version__
from unlogit.errors import UnlogitError, unknown
from unlogit.outside import plain
from unlogit.runtime.progress import announce_torch, stoppable

INTERRUPTED = "interrupted"
RESUMED = f"{INTERRUPTED}; the same command resumes from the last checkpoint, if there is one"


def classify(args: Sequence[str]) -> None:
    """Train a classifier, standard or adversarially."""
    from unlogit.arguments import parse
    from unlogit.classifier_training import FitLaunch

    launched = parse(FitLaunch, "unlogit classify", args)
    # Torch is imported after the options have been checked.
    announce_torch()
    from unlogit.classifier_training import fit
    from unlogit.runtime.launch import launch

    for name, figures in launch(fit, launched.config, launched.processes, launched.config.device).items():
        print(
            f"{name} accuracy {figures['accuracy']:.1%} "
            f"(95 % CI {figures['low']:.1%} to {figures['high']:.1%}, n = {figures['n']:,})"
        )
    print(f"open it as {launched.config.spec}")


def train(args: Sequence[str]) -> None:
    """Train an inverter for a frozen classifier."""
    from unlogit.training.launch import launch, read

    # The paper's method where none is named.
    method, args = (args[0], args[1:]) if args and not args[0].startswith("-") else ("biggan", args)
    launched, heading = read(method, args)
    for name, value in launch(launched.config, launched.processes, heading).items():
        print(f"{name:<16}{value:.4g}")
    inverter = shlex.quote(str(launched.config.out / "inverter"))
    print(f"next: unlogit reconstruct PHOTO --inverter {inverter}")
    images, report = shlex.quote(launched.config.held_out), shlex.quote(str(launched.config.out / "report"))
    print(f"      unlogit analyse {inverter} --images {images} --out {report}")


def bench(args: Sequence[str]) -> None:
    """Measure how fast this machine trains and reconstructs."""
    from unlogit.arguments import parse
    from unlogit.training.bench_config import BenchConfig

    config = parse(BenchConfig, "unlogit bench", args)
    announce_torch()
    from unlogit.training.bench import bench as run
    from unlogit.training.bench import table

    print(table(config, run(config)))


def reconstruct(args: Sequence[str]) -> None:
    """Reconstruct photos from a classifier's logits."""
    from unlogit.arguments import parse
    from unlogit.reconstruct import GRID, ReconstructConfig
    from unlogit.reconstruct import reconstruct as run

    config = parse(ReconstructConfig, "unlogit reconstruct", args)
    reconstructions, broken, view = run(config)
    for reconstruction in reconstructions:
        print(f"{plain(str(reconstruction.file))}: {reconstruction.original} -> {reconstruction.reconstructed}")
    print(f"Class that the classifier predicts for the photo -> for its reconstruction. {view}")
    print(config.out / f"{GRID}.png")
    if broken:
        reasons = "; ".join(map(str, broken))
        print(f"unlogit: {len(broken)} of {len(config.files)} photos skipped: {reasons}", file=sys.stderr)


def invert(args: Sequence[str]) -> None:
    """Reconstruct images from a file of logits or of another representation."""
    from unlogit.arguments import parse
    from unlogit.invert import GRID, InvertConfig
    from unlogit.invert import invert as run

    config = parse(InvertConfig, "unlogit invert", args)
    reconstructions = run(config)
    for one in reconstructions:
        print(plain(str(one.file)) + ("" if one.given is None else f": {one.given} -> {one.reconstructed}"))
    if reconstructions[0].given is not None:
        print("Likeliest class by the given logits -> class that the classifier predicts for the reconstruction.")
    print(config.out / f"{GRID}.png")


def analyse(args: Sequence[str]) -> None:
    """Analyse reconstructions and write an HTML report of figures, tables and findings."""
    from unlogit.report.command import analyse as run

    page, parts = run(args)
    from unlogit.report import headline, summary

    print(summary(parts))
    for part in parts:
        if part.silent:
            print(f"no results for {part.name}: {', '.join(part.silent)}")
        print("\n".join(["", *map(plain, headline(part)[1]), ""]))
    print(page)


def study(args: Sequence[str]) -> None:
    """Run a user study of reconstructions: create it, serve it, print its results."""
    from unlogit.web.study.command import study as run

    run(args)


def explore(args: Sequence[str]) -> None:
    """Explore reconstructions in the browser: edit logits with sliders and see the result."""
    from unlogit.arguments import parse
    from unlogit.web.explorer.command import ExploreConfig
    from unlogit.web.explorer.command import explore as run

    run(parse(ExploreConfig, "unlogit explore", args))


def list_(args: Sequence[str]) -> None:
    """List image sources, classifiers, layers, inverters, methods or analyses."""
    from unlogit.arguments import run_subcommand
    from unlogit.listing import COMMANDS as LISTS

    run_subcommand(LISTS, "unlogit list", args)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "classify": classify,
    "train": train,
    "reconstruct": reconstruct,
    "invert": invert,
    "analyse": analyse,
    "explore": explore,
    "study": study,
    "bench": bench,
    "list": list_,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    command, *args = (sys.argv[1:] if argv is None else argv) or ["--help"]
    # The terminal's encoding may lack characters of class names.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")

    def run() -> None:
        if command in ("-h", "--help", "--help-all"):
            print(_help())
        elif command == "--version":
            print(f"unlogit {__version__}")
        elif command in COMMANDS:
            COMMANDS[command](args)
        else:
            raise unknown("command", command, COMMANDS)

    return guarded(run, RESUMED if command in ("train", "classify") else INTERRUPTED)


def guarded(run: Callable[[], None], interrupted: str = RESUMED) -> int:
    """Run a command: return 0, 2 after a user's mistake, or 130 when interrupted, both with one line on stderr."""
    with stoppable() as stop_requested:
        try:
            return _guarded(run, interrupted)
        except Exception:
            if not stop_requested:
                raise
            return _fail(interrupted, 130)


def _guarded(run: Callable[[], None], interrupted: str) -> int:
    try:
        run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as head, has closed the pipe. Python flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UnlogitError as error:
        return _fail(f"error: {error}", 2)
    except OSError as error:
        if error.filename is None:
            raise
        return _fail(f"error: '{error.filename}': {error.strerror}", 2)
    except (MemoryError, RuntimeError) as error:
        # On a CPU, torch reports exhausted memory as a plain RuntimeError.
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        return _fail("error: not enough memory: give a smaller --batch, --micro-batch, size or network", 2)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or interrupted, 130)
    return 0


def _fail(message: str, code: int) -> int:
    print(f"unlogit: {plain(' '.join(message.split()))}", file=sys.stderr)
    return code


def _help() -> str:
    lines = [f"  {name:<14}{command.__doc__}" for name, command in COMMANDS.items()]
    about = "Reconstruct images from the logits of a frozen image classifier, and analyse what the logits keep."
    return "\n".join(
        [
            "usage: unlogit COMMAND ...",
            "",
            about,
            "",
            *lines,
            "",
            "Run 'unlogit COMMAND --help' for the options of a command.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
