"""`unlogit list`: what is known by name, and what images or a classifier hold."""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unlogit import registry
from unlogit.arguments import Commands
from unlogit.former import current
from unlogit.runtime.progress import announce_torch
from unlogit.settings import Checked

HERE = Path(__file__).parent
INVERTER_COLUMNS = ("name", "classifier", "layer", "size", "images seen", "trained on")


@dataclass(frozen=True)
class ImagesConfig(Checked):
    """List the sources of images, or describe the images of one source."""

    images: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[SOURCE:NAME]")] = None
    """Images to describe, as source:name: their number, classes, sizes and broken files."""


@dataclass(frozen=True)
class ClassifiersConfig(Checked):
    """List the sources of classifiers, or the classifiers that match a pattern."""

    pattern: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[PATTERN]")] = None
    """Shell pattern of names in all sources, such as 'resnetv2*', or in one source, such as 'torchvision:*'."""


@dataclass(frozen=True)
class LayersConfig(Checked):
    """List the layers of a classifier that can be inverted, with their shapes."""

    classifier: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CLASSIFIER")]
    """Classifier as source:name, such as timm:resnet18."""
    trust_code: bool = False
    """Allow opened files to name classifiers that run code (python:)."""


@dataclass(frozen=True)
class InvertersConfig(Checked):
    """List the trained inverters that come with unlogit, with their classifiers and training images."""


@dataclass(frozen=True)
class MethodsConfig(Checked):
    """List the inversion methods, with the command that runs each."""


@dataclass(frozen=True)
class AnalysesConfig(Checked):
    """List the analyses of a report."""


def list_images(config: ImagesConfig) -> None:
    if config.images is None:
        _print_modules("images", registry.names("unlogit.images"))
        return
    announce_torch()
    from unlogit.images import open_images, summary

    source = open_images(config.images)
    print(summary(source))
    if source.broken.reasons:
        print(f"unlogit: {source.broken.summary()}", file=sys.stderr)


def list_classifiers(config: ClassifiersConfig) -> None:
    if config.pattern is None:
        _print_modules("classifiers", registry.names("unlogit.classifiers"))
        return
    announce_torch()
    from unlogit.classifiers import find

    print("\n".join(find(config.pattern)))


def list_layers(config: LayersConfig) -> None:
    announce_torch()
    from unlogit.classifiers import open_classifier
    from unlogit.representation.layers import table

    print(table(open_classifier(config.classifier, config.trust_code)))


def list_inverters(_config: InvertersConfig) -> None:
    from unlogit.methods import WEIGHTS, known

    rows = [_inverter_row(WEIGHTS / name) for name in known()]
    if not rows:
        print("no packaged inverters: train one and give its folder")
        return
    widths = [max(map(len, column)) for column in zip(INVERTER_COLUMNS, *rows, strict=True)]
    for row in (INVERTER_COLUMNS, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def list_methods(_config: MethodsConfig) -> None:
    from unlogit.methods import trainable, untrained

    for usage, names in (("unlogit train METHOD", trainable()), ("unlogit reconstruct --method METHOD", untrained())):
        print(usage)
        _print_modules("methods", names, indent="  ")


def list_analyses(_config: AnalysesConfig) -> None:
    _print_modules("analyses", registry.names("unlogit.analyses"))


COMMANDS: Commands = {
    "images": (ImagesConfig, list_images),
    "classifiers": (ClassifiersConfig, list_classifiers),
    "layers": (LayersConfig, list_layers),
    "inverters": (InvertersConfig, list_inverters),
    "methods": (MethodsConfig, list_methods),
    "analyses": (AnalysesConfig, list_analyses),
}


def _inverter_row(folder: Path) -> tuple[str, ...]:
    """Return the cells of a packaged inverter, read from its config.json without torch."""
    config = current(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    facts = current(config["facts"])
    seen = facts.get("images_before", 0) + facts.get("images_seen", 0)
    size = config[config["kind"]]["size"]
    return (
        folder.name,
        config["classifier"],
        config["layer"],
        f"{size} px",
        f"{seen:,}",
        facts.get("training_images", "not recorded"),
    )


def _print_modules(package: str, names: list[str], indent: str = "") -> None:
    """Print the names of modules or folders of a package, each with the first line of its docstring."""
    width = max(map(len, names)) + 2
    for name in names:
        folder = HERE / package / name
        file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        # Parsed instead of imported, which takes what the module needs.
        about = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        shown = name.replace("_", "-") if package == "analyses" else name
        print(f"{indent}{shown:<{width}}{about}")
