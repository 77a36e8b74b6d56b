"""`unlogit report`: asks given inverters about given pictures. The command line is made from `ReportConfig`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path

import tyro

from unlogit import analyses
from unlogit.analyses import Evidence
from unlogit.errors import UnlogitError
from unlogit.images import View, open_images
from unlogit.inverters import Inverter, open_inverter
from unlogit.inverters.nearest import NearestNeighbour
from unlogit.report.page import write_report
from unlogit.report.sections import Part


@dataclass(frozen=True)
class ReportConfig:
    """Ask inverters everything there is an analysis for, and write one self-contained HTML page."""

    inverters: tyro.conf.Positional[tuple[str, ...]]
    """Each a folder such as RUN/inverter, or one that comes with unlogit; NAME=FOLDER says how it is called. Training
    curves are shown too where the folder still lies in its run."""
    images: str
    """Pictures that none of them was trained on, as source:name, e.g. scenes:test or 'parquet:val.parquet'."""
    out: Path
    """Folder for report.html, metrics.json and figures/."""
    pictures: int = 1_000
    """How many of the images, spread at random over the source."""
    nearest: str | None = None
    """Training pictures as source:name, for the floor of a nearest neighbour in the first inverter's representation."""
    cache: Path = Path("runs/cache")
    """Where the classifier's outputs for those are kept for the next report."""
    seed: int = 0
    """Of the noise and of every resampling."""

    def __post_init__(self) -> None:
        if not self.inverters:
            raise UnlogitError("no inverter given: write unlogit report INVERTER... --images SOURCE:NAME --out FOLDER")
        if self.pictures < 2:
            raise UnlogitError(f"pictures {self.pictures}: must be at least 2, for intervals")


def report(args: Sequence[str]) -> tuple[Path, list[Part]]:
    """Write the report that the arguments of `unlogit report` ask for.

    Each analysis has options under its own name, as its file declares them.

    Returns:
        the page, and what was found.

    Raises:
        UnlogitError: something given cannot be opened, or two inverters are of one name. Nothing is written then.
    """
    settings = {name: analyses.get(name).Config for name in analyses.names()}
    fields = [(name, config, field(default_factory=config)) for name, config in settings.items()]
    options = make_dataclass("ReportOptions", fields, bases=(ReportConfig,), frozen=True)
    config: ReportConfig = tyro.cli(options, prog="unlogit report", description=ReportConfig.__doc__, args=args)
    source = open_images(config.images)
    inverters: dict[str, Inverter] = {}
    runs: dict[str, Path] = {}
    for given in config.inverters:
        name, folder = _called(given)
        if name in inverters:
            raise UnlogitError(f"two inverters are called '{name}': write NAME=FOLDER to tell them apart")
        inverters[name] = open_inverter(folder)
        run = Path(folder).parent
        if (run / "config.json").is_file() and (run / "metrics.jsonl").is_file():
            runs[name] = run
    title = f"What {', '.join(inverters)} kept"
    if config.nearest is not None:
        first = next(iter(inverters.values()))
        known = open_images(config.nearest)
        floor = NearestNeighbour(first.representation, known, View(first.size), cache=config.cache)
        inverters[floor.name] = floor
    evidence = Evidence(source, inverters, limit=config.pictures, runs=runs, seed=config.seed)
    chosen = {name: getattr(config, name) for name in settings}
    command = shlex.join(["unlogit", "report", *args])
    parts = write_report(config.out, title, {source.spec: evidence}, configs=chosen, command=command)
    return config.out / "report.html", parts


def _called(given: str) -> tuple[str, str]:
    """(name, folder) of NAME=FOLDER or FOLDER; a folder "inverter" is called after its run."""
    name, equals, folder = given.rpartition("=")
    if equals and name:
        return name, folder
    path = Path(given).resolve()
    return (path.parent.name if path.name == "inverter" else path.name), given
