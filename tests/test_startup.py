"""Help and mistakes answer before anything heavy is imported."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from unlogit.cli import COMMANDS
from unlogit.methods import known, trainable
from unlogit.web.study.command import COMMANDS as STUDY

HEAVY = ("torch", "timm", "numpy", "matplotlib", "scipy", "sqlalchemy", "gradio")
ALL = [
    *([name] for name in COMMANDS),
    *(["train", method] for method in trainable()),
    *(["study", name] for name in STUDY),
]
PROBE = """
import contextlib, io, json, sys
from unlogit.cli import main

for command in {all}:
    for argument in ("--help", "--no-such-option"):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                code = main([*command, argument])
            except SystemExit as stop:
                code = stop.code or 0
        print(json.dumps([command, argument, code, [name for name in {heavy} if name in sys.modules]]))
"""


PORT = "PORT"
IMPORTING_COMMANDS = {
    "classify": ("--out", "c"),
    "train": ("--images", "scenes:", "--held-out", "scenes:test", "--classifier", "fitted:c", "--out", "r"),
    "bench": (),
    "reconstruct": ("--example",),
    "invert": ("logits.npy",),
    "analyse": ("r/inverter", "--images", "scenes:test", "--out", "o"),
    "explore": ("--port", PORT),
    "study create": ("r/inverter", "s/inverter", "--images", "scenes:test"),
    "list images": ("scenes:",),
    "list classifiers": ("resnet*",),
    "list layers": ("timm:resnet18",),
}
"""Commands that import torch, with the arguments that they need."""
IMPORTING = """
import sys

import pytest
from unlogit.cli import main

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("importing torch", file=sys.stderr)
            raise SystemExit

sys.meta_path.insert(0, Stop())
main({args})
"""


@pytest.mark.parametrize("command", sorted(IMPORTING_COMMANDS))
def test_a_command_says_that_it_imports_torch(command: str) -> None:
    """The import takes seconds, and much longer from a cold disk."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = [port if option == PORT else option for option in IMPORTING_COMMANDS[command]]
    code = IMPORTING.format(args=[*command.split(), *options])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "unlogit: loading PyTorch ...\nimporting torch\n"


def test_help_and_mistakes_are_answered_without_what_the_commands_import() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(all=ALL, heavy=HEAVY)], capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 2 * len(ALL)
    for command, argument, code, imported in answers:
        assert code == (0 if argument == "--help" else 2), (command, argument)
        assert not imported, (command, argument)


UNUSED = ("timm", "torchvision", "torch._dynamo", "sympy", "scipy", "transformers", "datasets")
"""Imports that take up to twice as long as torch itself, which a photo needs."""
RECONSTRUCT = """
import sys
from unlogit import photos
from unlogit.cli import main

assert main(["reconstruct", str(photos.paths()[0]), "--out", sys.argv[1], "--device", "cpu", *sys.argv[2:]]) == 0
print([name for name in {unused} if name in sys.modules])
"""


def test_a_photo_is_reconstructed_without_what_it_does_not_need(tmp_path: Path) -> None:
    inverters = [word for name in known() for word in ("--inverter", name)]
    done = subprocess.run(
        [sys.executable, "-c", RECONSTRUCT.format(unused=UNUSED), str(tmp_path), *inverters],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
