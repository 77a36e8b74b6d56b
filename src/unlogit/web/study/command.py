"""`unlogit study`: make a study, serve it, read its results. The command line is made from the configurations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unlogit.arguments import Commands, run_subcommand
from unlogit.runtime.progress import announce
from unlogit.settings import Bounds, Checked, Count, Seed
from unlogit.trust import trusting
from unlogit.web.serving import ServerOptions, listen, serve
from unlogit.web.study import NAMING
from unlogit.web.study.create import CreateConfig, create

DATABASE = CreateConfig.database


@dataclass(frozen=True)
class ServeConfig(ServerOptions):
    """Serve all studies of a database to participants, until interrupted."""

    database: str = DATABASE
    """Database of the studies: a SQLite file, or a URL such as postgresql://user:password@host/name."""


@dataclass(frozen=True)
class ObserveConfig(Checked):
    """Answer a comparison study by metrics, labelled as automated: a first estimate of people's answers."""

    metrics: tyro.conf.Positional[tuple[str, ...]] = ("pixel_error",)
    """Metrics that answer the study, each as an observer of its own, e.g. pixel_error or ssim."""
    database: str = DATABASE
    """Database of the study: a SQLite file or a URL."""
    study: str | None = None
    """Name of the study; needed only if the database holds several."""
    trust_code: bool = False
    """Allow folders that a metric features:SOURCE:NAME opens to name classifiers that run code (python:)."""


@dataclass(frozen=True)
class SimulateConfig(Checked):
    """Fill a study with simulated participants, to test its analysis. By default, results exclude them."""

    database: str = DATABASE
    """Database of the study: a SQLite file or a URL."""
    study: str | None = None
    """Name of the study; needed only if the database holds several."""
    participants: Count = 20
    """Number of simulated participants. They replace those of an earlier simulation."""
    preference: Annotated[float, Bounds(0.01, 0.99)] = 0.7
    """Probability of choosing the first inverter of a pair in a comparison, 0.01 to 0.99."""
    accuracy: Annotated[float, Bounds(0.01, 0.99)] = 0.6
    """Probability of naming the class of a reconstruction in a naming study, 0.01 to 0.99. The error rate for originals
    is half as high."""
    passing: Annotated[float, Bounds(0, 1)] = 0.98
    """Probability of passing an attention check, 0 to 1."""
    seed: Seed = 0
    """Random seed of all answers."""


@dataclass(frozen=True)
class ResultsConfig(Checked):
    """Print the results of a study, and export its data."""

    database: str = DATABASE
    """Database of the study: a SQLite file or a URL."""
    study: str | None = None
    """Name of the study; needed only if the database holds several."""
    out: Path | None = None
    """Folder for the exports: votes.csv, participants.csv, attention.csv, images.csv and results.json, with table1.csv
    and 2afc.zip (comparison) or accuracy.csv (naming). Default: no export."""
    simulated: bool = False
    """Also print the results of simulated participants, in a separate column."""


@dataclass(frozen=True)
class TableConfig(Checked):
    """Print the results of several studies: preferences (the paper's Table 1) and naming accuracies."""

    databases: tyro.conf.Positional[tuple[str, ...]] = (DATABASE,)
    """Databases, each a SQLite file or a URL; all of their studies are included."""
    out: Path | None = None
    """Folder for table1.md, table1.csv (comparison) and accuracy.csv (naming). Default: no files."""


def run_create(config: CreateConfig) -> None:
    study, token = create(config)
    if study.trial == NAMING:
        what = f"{len(study.conditions)} conditions ({', '.join(study.conditions)}), {config.choices} choices"
    else:
        what = f"{len(study.pairs)} pairs"
    print(
        f"study '{study.name}': {study.pictures} images, {what}; each participant is shown "
        f"{study.trials} trials and {study.checks} attention checks\n"
        f"serve it with     unlogit study serve --database {_shown(config.database)}\n"
        f"researcher's token, shown only once: {token}"
    )


def run_serve(config: ServeConfig) -> None:
    with listen(config) as listening:
        announce("starting the server")
        from unlogit.web.study.server import create_app
        from unlogit.web.study.tables import Database

        database = Database(config.database)
        for study in database.studies():
            print(f"{study.name}: {config.url}/s/{study.name}   (results: .../results)", flush=True)
        serve(create_app(database), config, listening)


def run_observe(config: ObserveConfig) -> None:
    announce("opening the study")
    from unlogit.web.study import exports
    from unlogit.web.study.observer import observe
    from unlogit.web.study.results import Results
    from unlogit.web.study.tables import Database

    database = Database(config.database)
    study = database.study(config.study)
    for metric in config.metrics:
        announce(f"answering the items of '{study.name}' by {metric}")
        with trusting(config.trust_code):
            answered = observe(database, study, metric)
        print(f"{metric} answered {answered} items of '{study.name}'")
    print(exports.table_markdown([Results.read(database, study)]), end="")


def run_simulate(config: SimulateConfig) -> None:
    announce("opening the study")
    from unlogit.web.study.simulate import Rates, simulate
    from unlogit.web.study.tables import Database

    database = Database(config.database)
    study = database.study(config.study)
    rates = Rates(config.preference, config.accuracy, config.passing)
    answers = simulate(database, study, config.participants, rates, config.seed)
    print(
        f"{config.participants} simulated participants gave {answers} answers in '{study.name}'; results leave them "
        "out without --simulated"
    )


def run_results(config: ResultsConfig) -> None:
    announce("opening the study")
    from unlogit.web.study import exports
    from unlogit.web.study.results import Results
    from unlogit.web.study.tables import Database

    database = Database(config.database)
    study = database.study(config.study)
    found = Results.read(database, study, config.simulated)
    people = found.observations[0]
    print(
        f"study '{study.name}': {people.subjects} participants included ({people.finished} finished), "
        f"{len(people.excluded)} excluded for failed attention checks"
        + (f"; {found.simulated} simulated participants are counted separately\n" if found.simulated else "\n")
    )
    print(exports.table_markdown([found]), end="")
    for path in exports.write(database, study, config.out) if config.out else ():
        print(path)


def run_table(config: TableConfig) -> None:
    announce("opening the studies")
    from unlogit.web.study import exports
    from unlogit.web.study.results import Results
    from unlogit.web.study.tables import Database

    opened = [Database(given) for given in config.databases]
    found = [Results.read(database, study) for database in opened for study in database.studies()]
    print(exports.table_markdown(found), end="")
    if config.out:
        exports.write_table(found, config.out)


COMMANDS: Commands = {
    "create": (CreateConfig, run_create),
    "serve": (ServeConfig, run_serve),
    "observe": (ObserveConfig, run_observe),
    "simulate": (SimulateConfig, run_simulate),
    "results": (ResultsConfig, run_results),
    "table": (TableConfig, run_table),
}


def study(args: Sequence[str]) -> None:
    """Run `unlogit study COMMAND ...`; raises `UnlogitError` where there is no such command."""
    run_subcommand(COMMANDS, "unlogit study", args)


def _shown(database: str) -> str:
    from unlogit.web.study.tables import Database

    return Database(database).name if "://" in database else database
