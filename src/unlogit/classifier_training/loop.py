"""Fitting a classifier, as usual or robustly: from a configuration to a folder and the figures reached."""

from __future__ import annotations

import hashlib
import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlogit.classifier_training.accuracy import accuracy
from unlogit.classifier_training.config import BUILT_IN, FitConfig
from unlogit.classifier_training.fitting import Fitting
from unlogit.classifiers import _starts as starts
from unlogit.classifiers import read_labels
from unlogit.classifiers.small import SmallConfig
from unlogit.errors import UnlogitError
from unlogit.files import is_unfinished, locked, recover, report_disk_full, to_json
from unlogit.former import current
from unlogit.images import ImageSource, Loader, View, open_images, warn_of_overlap
from unlogit.runtime import distributed
from unlogit.runtime.checkpoint import FINGERPRINTS, Checkpoints, check_unchanged
from unlogit.runtime.device import pick_device
from unlogit.runtime.progress import Metrics, announce
from unlogit.saved import CONFIG, WEIGHTS
from unlogit.trust import trusting

EVALUATION_BATCH = 64
"""Images at a time in each process."""

MUTABLE = {"out", "device", "log_every", "checkpoint_every", "strict", "trust_code"}
"""What may change between a run and its resumption without changing what it computes."""

CHECKPOINTS, METRICS = "checkpoints", "metrics.jsonl"
UNDER_WAY = {CHECKPOINTS, METRICS, WEIGHTS}
"""What the folder of a fitting of version 0.1.0 may hold before config.json is in it."""


def fit(config: FitConfig) -> dict[str, Any]:
    """Train a classifier, write it to `config.out` and return the figures reached; go on where it was stopped.

    A folder that this very configuration made before is left as it is, and its figures are returned. While it is
    trained, the folder holds metrics.jsonl and checkpoints/, which go in the end.

    Returns:
        "clean" and "pgd-20" (attacked by 20 steps within epsilon), each with accuracy, low and high (its Wilson 95 %
        interval) and n.

    Raises `UnlogitError` where the folder holds something else or another process writes it, the checkpoint was made
    with other images, the images have no labels, the loss is no number, or the disk is full.
    """
    finished = _finished(config.out)
    if finished is not None:
        _check_same(config, finished)
        reached: dict[str, Any] = finished["reached"]
        return reached
    device = pick_device(config.device)
    distributed.start(device)
    try:
        lock = nullcontext() if distributed.rank() else locked(config.out)
        with report_disk_full(config.out), lock, trusting(config.trust_code):
            return _fit(config, device)
    finally:
        distributed.stop()


def _fit(config: FitConfig, device: torch.device) -> dict[str, Any]:
    record = _plain(config)
    checkpoints = Checkpoints(config.out / CHECKPOINTS)
    saved = checkpoints.load()
    if saved is not None:
        _check_same(config, saved)
    announce(f"opening the images {config.images} and {config.test_images}")
    source, held_out = _images(config)
    if distributed.rank() == 0:
        warn_of_overlap(source, held_out)
    labels = None if config.labels is None else read_labels(config.labels, len(source.class_names))
    fingerprints = _identified(config, saved, source, held_out, labels)
    announce("building the network" if config.start == BUILT_IN else f"opening the classifier {config.start}")
    if config.start == BUILT_IN:
        shape = SmallConfig(len(source.class_names), config.size, config.widths, config.blocks)
        classifier = starts.new_small(shape, source.class_names, config.spec, config.seed)
    else:
        classifier = starts.opened(config.start, source.class_names, labels, config.seed)
    rank, world = distributed.rank(), distributed.world_size()
    loader = Loader(held_out, View(config.size), EVALUATION_BATCH * world, seed=0, rank=rank, world_size=world)
    fitting = Fitting(config, classifier, source, labels, device, loader)
    if saved is not None:
        fitting.load_state_dict(saved)
    if distributed.rank() == 0:
        recover(config.out, CONFIG, WEIGHTS, METRICS)
        recover(checkpoints.folder, "*.pt")
    fitting.run(checkpoints, Metrics(config.out / METRICS), {"fit": record, FINGERPRINTS: fingerprints})
    final = fitting.result()
    announce("measuring the accuracy, clean and under attack")
    reached = accuracy(
        final, loader, labels, config.epsilon, config.num_test_images, config.num_attacked_images, config.seed
    )
    for images in (source, held_out):
        images.broken.reasons = distributed.union(images.broken.reasons)
    if rank == 0:
        starts.save(config.out, final, classifier.spec, {"fit": record, "reached": reached})
        checkpoints.remove()
        source.broken.warn()
        held_out.broken.warn()
        if config.target_accuracy is not None and not fitting.on_target:
            print(
                f"warning: {config.out}: {reached['clean']['accuracy']:.1%} accuracy after {config.num_images:,} "
                f"images, below target accuracy {config.target_accuracy:.1%}: give more images, or a lower target",
                file=sys.stderr,
            )
    return reached


def _images(config: FitConfig) -> tuple[ImageSource, ImageSource]:
    source, held_out = (open_images(spec, strict=config.strict) for spec in (config.images, config.test_images))
    for one in (source, held_out):
        if len(one.class_names) < 2 or int(one.labels.min()) < 0:
            raise UnlogitError(f"{one.spec}: some of its images have no label; training needs labelled images")
    if source.class_names != held_out.class_names:
        raise UnlogitError(f"{config.images} and {config.test_images}: must have the same classes; give one dataset")
    return source, held_out


def _identified(
    config: FitConfig,
    saved: dict[str, Any] | None,
    source: ImageSource,
    held_out: ImageSource,
    labels: Tensor | None,
) -> dict[str, str]:
    """Return fingerprints of the inputs of the result; raise `UnlogitError` where one differs from the checkpoint's."""
    fingerprints = {
        "images": (source.spec, source.fingerprint()),
        "test_images": (held_out.spec, held_out.fingerprint()),
    }
    if labels is not None:
        fingerprints["labels"] = (str(config.labels), hashlib.sha256(str(labels.tolist()).encode()).hexdigest()[:16])
    for name, (spec, fingerprint) in fingerprints.items():
        check_unchanged(saved, name, spec, fingerprint)
    return {name: fingerprint for name, (_, fingerprint) in fingerprints.items()}


def _check_same(config: FitConfig, begun: dict[str, Any]) -> None:
    """Raise `UnlogitError` unless a checkpoint or config.json is that of a fitting with this configuration."""
    if not isinstance(begun.get("fit"), dict) or _essence(begun["fit"]) != _essence(_plain(config)):
        raise UnlogitError(f"'{config.out}' holds another training: resume it with its options, or give another --out")


def _plain(config: FitConfig) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(to_json(asdict(config)))
    return plain


def _essence(record: dict[str, Any]) -> dict[str, Any]:
    """Return the options that affect the result of a training; options added later take their defaults."""
    full = _plain(FitConfig(Path())) | current(record)
    return {name: value for name, value in full.items() if name not in MUTABLE}


def _finished(folder: Path) -> dict[str, Any] | None:
    """Return what `config.json` holds, of a finished training or not; None for no file or an unfinished training."""
    if not (folder / CONFIG).exists():
        return None if _is_free(folder) else {}
    try:
        record = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("reached"), dict) else {}


def _is_free(folder: Path) -> bool:
    """Return whether a folder is new, empty, or that of a fitting under way: what else has its names is somebody's."""
    if not folder.is_dir():
        return not folder.exists()
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    begun = names <= UNDER_WAY and bool(Checkpoints(folder / CHECKPOINTS).paths())
    return not names or begun or is_unfinished(folder)
