"""Fitting a classifier, as usual or robustly: from a configuration to a folder and the figures reached."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from unlogit import distributed
from unlogit.checkpoint import Checkpoints
from unlogit.classifiers import _starts as starts
from unlogit.classifiers._accuracy import accuracy
from unlogit.classifiers._fit_config import BUILT_IN, FitConfig
from unlogit.classifiers._fitting import Fitting
from unlogit.classifiers._labels import read_labels
from unlogit.classifiers.small import CONFIG, WEIGHTS, SmallConfig
from unlogit.device import pick_device
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, Loader, View, open_images, warn_of_overlap
from unlogit.progress import Metrics

EVALUATION_BATCH = 64
"""Pictures at a time in each process."""

MUTABLE = {"out", "log_every", "checkpoint_every", "strict"}
"""What may change between a run and its resumption without changing what it computes."""

CHECKPOINTS, METRICS = "checkpoints", "metrics.jsonl"
UNDER_WAY = {CHECKPOINTS, METRICS, WEIGHTS}
"""What the folder may hold before config.json is in it, beside what a kill left of files being written."""


def fit(config: FitConfig) -> dict[str, Any]:
    """Train a classifier, write it to `config.out` and return the figures reached; go on where it was stopped.

    A folder that this very configuration made before is left as it is, and its figures are returned. While it is
    trained, the folder holds metrics.jsonl and checkpoints/, which go in the end.

    Returns:
        "clean" and "pgd-20" (attacked by 20 steps within epsilon), each with accuracy, low and high (its Wilson 95 %
        interval) and n.

    Raises `UnlogitError` where the folder holds something else, the pictures have no labels, or the loss is no number.
    """
    record = _plain(config)
    checkpoints = Checkpoints(config.out / CHECKPOINTS)
    finished = _finished(config.out)
    saved = checkpoints.load() if finished is None else None
    begun = saved if finished is None else finished
    if begun is not None and ("fit" not in begun or _essence(begun["fit"]) != _essence(record)):
        raise UnlogitError(f"'{config.out}' holds something else: give another --out or delete it")
    if finished is not None:
        reached: dict[str, Any] = finished["reached"]
        return reached
    device = pick_device()
    distributed.start(device)
    try:
        return _fit(config, record, checkpoints, saved, device)
    finally:
        distributed.stop()


def _fit(
    config: FitConfig,
    record: dict[str, Any],
    checkpoints: Checkpoints,
    saved: dict[str, Any] | None,
    device: torch.device,
) -> dict[str, Any]:
    source, held_out = _pictures(config)
    if distributed.rank() == 0:
        warn_of_overlap(source, held_out)
    labels = None if config.labels is None else read_labels(config.labels, len(source.class_names))
    if config.start == BUILT_IN:
        shape = SmallConfig(len(source.class_names), config.size, config.widths, config.blocks)
        classifier = starts.new_small(shape, source.class_names, config.spec, config.seed)
    else:
        classifier = starts.opened(config.start, source.class_names, labels, config.seed)
    fitting = Fitting(config, classifier, source, labels, device)
    if saved is not None:
        fitting.load_state_dict(saved)
    fitting.run(checkpoints, Metrics(config.out / METRICS), record)
    final = fitting.result()
    rank, world = distributed.rank(), distributed.world_size()
    loader = Loader(held_out, View(config.size), EVALUATION_BATCH * world, seed=0, rank=rank, world_size=world)
    reached = accuracy(
        final, loader, labels, config.epsilon, config.test_pictures, config.attacked_pictures, config.seed
    )
    for pictures in (source, held_out):
        pictures.broken.reasons = distributed.union(pictures.broken.reasons)
    if rank == 0:
        starts.save(config.out, final, classifier.spec, {"fit": record, "reached": reached})
        checkpoints.remove()
        source.broken.tell()
        held_out.broken.tell()
    return reached


def _pictures(config: FitConfig) -> tuple[ImageSource, ImageSource]:
    source, held_out = (open_images(spec, strict=config.strict) for spec in (config.images, config.test_images))
    for one in (source, held_out):
        if len(one.class_names) < 2 or int(one.labels.min()) < 0:
            raise UnlogitError(f"{one.spec}: some of its pictures have no label, without which nothing can be fitted")
    if source.class_names != held_out.class_names:
        raise UnlogitError(f"{config.images} and {config.test_images} have different classes")
    return source, held_out


def _plain(config: FitConfig) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config), default=str))
    return plain


def _essence(record: dict[str, Any]) -> dict[str, Any]:
    """What a fitting computes, whatever is written down on the way; options that are newer than it have no effect."""
    full = _plain(FitConfig(Path())) | record
    return {name: value for name, value in full.items() if name not in MUTABLE}


def _finished(folder: Path) -> dict[str, Any] | None:
    """What `config.json` tells, be it of a fitting or not; None where nothing is there, or a fitting under way."""
    if not (folder / CONFIG).exists():
        empty = not folder.exists() or (folder.is_dir() and all(map(_under_way, folder.iterdir())))
        return None if empty else {}
    try:
        found = json.loads((folder / CONFIG).read_text())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _under_way(path: Path) -> bool:
    return path.name in UNDER_WAY or path.name.startswith(".")
