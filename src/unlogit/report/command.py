"""`unlogit analyse`: asks given inverters about given images. The command line is made from `AnalyseConfig`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import tyro

from unlogit import analyses
from unlogit.arguments import HELP_ALL, parse
from unlogit.errors import UnlogitError, unknown
from unlogit.files import expand_user
from unlogit.settings import Checked, Seed, Several

if TYPE_CHECKING:
    from unlogit.methods import Inverter
    from unlogit.report.sections import Part


@dataclass(frozen=True)
class AnalyseConfig(Checked):
    """Ask inverters everything there is an analysis for, or what is named, and write one self-contained HTML page.

    What was found before is not computed again where inverters, images, options and code are the same. Each analysis
    has options of its own, as --noise.draws.
    """

    BASIC: ClassVar = ("inverters", "images", "out", "only", "other", "num_images", "nearest", "seed", "device")

    inverters: tyro.conf.Positional[tuple[str, ...]]
    """Each a folder such as RUN/inverter, or one that comes with unlogit; NAME=FOLDER says how it is called. Training
    curves are shown too where the folder still lies in its run."""
    images: str
    """Images that none of them was trained on, as source:name, e.g. scenes:test or 'parquet:val.parquet'."""
    out: Path
    """Folder for report.html, metrics.json and results/."""
    only: tuple[str, ...] = ()
    """These analyses alone, e.g. noise noise-path; 'unlogit list analyses' names them all."""
    other: tuple[str, ...] = ()
    """Images of other kinds, as source:name, for what becomes of them; NAME=SOURCE:NAME says how they are called."""
    num_images: Several = 1_000
    """How many of the images, spread at random over the source."""
    features: str = "auto"
    """Classifier, as source:name, in which perceptual distances are taken; auto: a packaged one that is not an
    inverter's own, where extra 'imagenet' is installed, else pixels; pixels: none."""
    labels: Path | None = None
    """JSON list of {"label": 0, "imagenet1k": 1}: which of the classifiers' logits each label of the images is, where
    they number their classes differently."""
    nearest: str | None = None
    """Training images as source:name, for the floor of a nearest neighbour in the first inverter's representation."""
    fit_on: str | None = None
    """Training images as source:name, which linear probes are fitted on (4,000 of them); without it, probes are fitted
    by cross-fitting on the held-out images, which reads less."""
    cache: Path = Path("runs/cache")
    """Where the classifier's outputs for those are kept for the next report."""
    strict: bool = False
    """Stop at the first broken image, instead of skipping up to 1 %."""
    device: str = "auto"
    """Device: "auto" is a CUDA GPU where there is one, and otherwise the CPU; or cpu, cuda, cuda:1, mps."""
    trust_code: bool = False
    """Allow opened folders to name classifiers that run code (python:). Sources named in the options always may."""
    seed: Seed = 0
    """Random seed for the noise and for all resampling."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.inverters:
            raise UnlogitError("no inverter given: write unlogit analyse INVERTER... --images SOURCE:NAME --out FOLDER")
        for name in self.only:
            if name.replace("_", "-") not in analyses.names():
                raise unknown("analysis", name, analyses.names())


def analyse(args: Sequence[str]) -> tuple[Path, list[Part]]:
    """Write the report that the arguments of `unlogit analyse` ask for.

    Each analysis has options under its own name, as its file declares them.

    Returns:
        the page, and what was found.

    Raises:
        UnlogitError: something given cannot be opened, two inverters are of one name, or something is in the place of a
            result that this program did not write. Nothing is written then.
    """
    config: AnalyseConfig = parse(_command(args), "unlogit analyse", args, AnalyseConfig.__doc__)
    # Torch is imported where the options are right.
    from unlogit.analyses import Evidence, perceptual_network
    from unlogit.classifiers import open_classifier, read_labels
    from unlogit.images import View, open_images
    from unlogit.methods import called, open_inverter
    from unlogit.methods.nearest import NearestNeighbour
    from unlogit.report.overlap import warnings
    from unlogit.report.page import PAGE, check_report, write_report
    from unlogit.runtime.device import pick_device

    check_report(config.out)
    device = pick_device(config.device)
    source = open_images(config.images, strict=config.strict)
    others = {name: open_images(spec, strict=config.strict) for name, spec in map(_other, config.other)}
    fit_on = None if config.fit_on is None else open_images(config.fit_on, strict=config.strict)
    inverters: dict[str, Inverter] = {}
    runs: dict[str, Path] = {}
    for given in config.inverters:
        name, folder = called(given)
        if name in inverters:
            raise UnlogitError(f"two inverters are called '{name}': write NAME=FOLDER to distinguish them")
        inverters[name] = open_inverter(folder, config.trust_code).to(device)
        run = Path(expand_user(folder)).parent
        if (run / "config.json").is_file() and (run / "metrics.jsonl").is_file():
            runs[name] = run
    title = f"What {', '.join(inverters)} kept"
    if config.nearest is not None:
        first = next(iter(inverters.values()))
        known = open_images(config.nearest, strict=config.strict)
        floor = NearestNeighbour(first.representation, known, View(first.size), cache=config.cache)
        inverters[floor.name] = floor
        known.broken.warn()
    if config.features == "pixels":
        features = None
    else:
        features = (
            perceptual_network(inverters)
            if config.features == "auto"
            else open_classifier(config.features, config.trust_code)
        )
    logits_of = None
    if config.labels is not None:
        logits_of = read_labels(config.labels, len(source.class_names))
        most = max(len(inverter.representation.classifier.class_names) for inverter in inverters.values())
        if (asked_for := int(logits_of.max())) >= most:
            raise UnlogitError(
                f"labels '{config.labels}': names logit {asked_for}, and the classifiers have logits 0 to {most - 1}: "
                "give the file that was made for them"
            )
    evidence = Evidence(
        source,
        inverters,
        limit=config.num_images,
        runs=runs,
        others=others,
        features=None if features is None else features.to(device),
        logits_of=logits_of,
        seed=config.seed,
        fit_on=fit_on,
    )
    for line in warnings(evidence):
        print(f"unlogit: warning: {line}", file=sys.stderr)
    asked = {name.replace("_", "-") for name in config.only} or set(analyses.names())
    chosen = {
        name: getattr(config, name.replace("-", "_"), None) or analyses.get(name).Config()
        for name in analyses.names()
        if name in asked
    }
    command = shlex.join(["unlogit", "analyse", *args])
    parts = write_report(config.out, title, {source.spec: evidence}, configs={source.spec: chosen}, command=command)
    for opened in (source, *others.values(), *([] if fit_on is None else [fit_on])):
        opened.broken.warn()
    return config.out / PAGE, parts


def _command(args: Sequence[str]) -> type[AnalyseConfig]:
    """Return the command line with the options of the analyses that the arguments name, or of all for --help-all.

    An analysis is imported for its options, and torch with it.
    """
    given = [arg.replace("_", "-") for arg in args]
    named = [name for name in analyses.names() if HELP_ALL in args or any(a.startswith(f"--{name}.") for a in given)]
    configs = {name.replace("-", "_"): analyses.get(name).Config for name in named}
    fields = [(name, config, field(default_factory=config)) for name, config in configs.items()]
    return make_dataclass("AnalyseOptions", fields, bases=(AnalyseConfig,), frozen=True)


def _other(given: str) -> tuple[str, str]:
    """(name, spec) of NAME=SPEC or SPEC; a spec may hold an equals sign after its colon."""
    name, equals, spec = given.partition("=")
    return (name, spec) if equals and ":" not in name else (given, given)
