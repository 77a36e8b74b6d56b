"""`unlogit analyse`: run analyses of inverters on images. The command line is made from `AnalyseConfig`."""

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
from unlogit.runtime.progress import announce, announce_torch
from unlogit.settings import Checked, Seed, Several

if TYPE_CHECKING:
    from unlogit.methods import Inverter
    from unlogit.report.sections import Part


@dataclass(frozen=True)
class AnalyseConfig(Checked):
    """Run all analyses, or the named ones, and write one self-contained HTML report.

    Earlier results are reused if inverters, images, options and code are the same. Each analysis has its own
    options, such as --noise.draws.
    """

    BASIC: ClassVar = ("inverters", "images", "out", "only", "other", "num_images", "nearest", "seed", "device")

    inverters: tyro.conf.Positional[tuple[str, ...]]
    """Inverters: folders such as RUN/inverter, or names of packaged inverters; NAME=FOLDER sets the name shown. For a
    folder that is still inside its run, the report also shows the training curves."""
    images: str
    """Images that no inverter was trained on, as source:name, e.g. scenes:test or 'parquet:val.parquet'."""
    out: Path = Path("report")
    """Folder for report.html, metrics.json and results/."""
    only: tuple[str, ...] = ()
    """Analyses to run, e.g. noise noise-path (see: unlogit list analyses). Default: all."""
    other: tuple[str, ...] = ()
    """Out-of-distribution images to compare with, as source:name; NAME=SOURCE:NAME sets the name shown. Default:
    none."""
    num_images: Several = 1_000
    """Number of images, drawn at random from the source."""
    features: str = "auto"
    """Classifier for perceptual distances, as source:name. "auto" is a packaged classifier of another architecture than
    the inverted ones, if the extra "imagenet" is installed; "pixels" measures distances in pixels alone."""
    labels: Path | None = None
    """JSON file with a list of {"label": 0, "imagenet1k": 1}: the index of the classifiers' logit for each label of the
    images. Needed if they number their classes differently."""
    nearest: str | None = None
    """Training images as source:name, for a nearest-neighbour baseline in the first inverter's representation. Default:
    no baseline."""
    fit_on: str | None = None
    """Training images as source:name; linear probes are fitted on 4,000 of them. By default, probes are cross-fitted on
    the held-out images, which is less accurate."""
    cache: Path = Path("runs/cache")
    """Folder in which the classifier's outputs for --nearest are cached between reports."""
    strict: bool = False
    """Stop at the first broken image instead of skipping up to 1 % of the images."""
    device: str = "auto"
    """Device to run on: "auto", "cpu", "cuda", "cuda:1" or "mps". "auto" is a CUDA GPU if there is one, else the
    CPU."""
    trust_code: bool = False
    """Allow opened folders to name classifiers that run code (python:). Sources named in the options are always
    allowed."""
    seed: Seed = 0
    """Random seed for the noise and for all resampling."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.inverters:
            raise UnlogitError("no inverter given: write unlogit analyse INVERTER... --images SOURCE:NAME")
        for name in self.only:
            if name.replace("_", "-") not in analyses.names():
                raise unknown("analysis", name, analyses.names())


def analyse(args: Sequence[str]) -> tuple[Path, list[Part]]:
    """Write the report for the arguments of `unlogit analyse`.

    Each analysis has options under its own name, as its file declares them.

    Returns:
        The page, and the results by part.

    Raises:
        UnlogitError: an argument cannot be opened, two inverters have the same name, or `out` holds files that unlogit
            did not write. Nothing is written then.
    """
    config: AnalyseConfig = parse(_command(args), "unlogit analyse", args, AnalyseConfig.__doc__)
    # Torch is imported only after the options are checked, so that errors are fast.
    announce_torch()
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
    announce(f"opening the images {config.images}")
    source = open_images(config.images, strict=config.strict)
    others = {name: open_images(spec, strict=config.strict) for name, spec in map(_other, config.other)}
    fit_on = None if config.fit_on is None else open_images(config.fit_on, strict=config.strict)
    inverters: dict[str, Inverter] = {}
    runs: dict[str, Path] = {}
    for argument in config.inverters:
        name, folder = called(argument)
        if name in inverters:
            raise UnlogitError(f"two inverters are called '{name}': write NAME=FOLDER to distinguish them")
        announce(f"opening the inverter {name}")
        inverters[name] = open_inverter(folder, config.trust_code).to(device)
        run = Path(expand_user(folder)).parent
        if (run / "config.json").is_file() and (run / "metrics.jsonl").is_file():
            runs[name] = run
    title = f"What {', '.join(inverters)} kept"
    if config.nearest is not None:
        announce(f"encoding the training images {config.nearest}")
        first = next(iter(inverters.values()))
        training = open_images(config.nearest, strict=config.strict)
        baseline = NearestNeighbour(first.representation, training, View(first.size), cache=config.cache)
        inverters[baseline.name] = baseline
        training.broken.warn()
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
        if (highest := int(logits_of.max())) >= most:
            raise UnlogitError(
                f"labels '{config.labels}': logit index {highest} must be 0 to {most - 1}, the logits of the "
                "classifiers: give the file that belongs to them"
            )
    announce("checking the images")
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
    selected = {name.replace("_", "-") for name in config.only} or set(analyses.names())
    chosen = {
        name: getattr(config, name.replace("-", "_"), None) or analyses.get(name).Config()
        for name in analyses.names()
        if name in selected
    }
    command = shlex.join(["unlogit", "analyse", *args])
    parts = write_report(config.out, title, {source.spec: evidence}, configs={source.spec: chosen}, command=command)
    for opened in (source, *others.values(), *([] if fit_on is None else [fit_on])):
        opened.broken.warn()
    return config.out / PAGE, parts


def _command(args: Sequence[str]) -> type[AnalyseConfig]:
    """Return the command line with the options of the analyses that the arguments name, or of all for --help-all.

    Importing an analysis for its options also imports torch, so that only those that are needed are imported.
    """
    hyphenated = [arg.replace("_", "-") for arg in args]
    named = [
        name for name in analyses.names() if HELP_ALL in args or any(a.startswith(f"--{name}.") for a in hyphenated)
    ]
    configs = {name.replace("-", "_"): analyses.get(name).Config for name in named}
    fields = [(name, config, field(default_factory=config)) for name, config in configs.items()]
    return make_dataclass("AnalyseOptions", fields, bases=(AnalyseConfig,), frozen=True)


def _other(text: str) -> tuple[str, str]:
    """Return (name, spec) of NAME=SPEC or SPEC; a spec may hold an equals sign after its colon."""
    name, equals, spec = text.partition("=")
    return (name, spec) if equals and ":" not in name else (text, text)
