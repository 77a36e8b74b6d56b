"""The training loop: plain, countable in images, the same from any checkpoint on.

Everything random is a function of (seed, images seen), so that a resumed run repeats what an uninterrupted one does,
and any number of processes sees the same global batches.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unlogit.classifiers import Classifier, binding, open_classifier
from unlogit.classifiers._module import check_processes
from unlogit.errors import UnlogitError
from unlogit.files import locked, report_disk_full
from unlogit.images import ImageSource, open_images, warn_of_overlap
from unlogit.methods import TrainConfig, TrainingData, trainer_of
from unlogit.runtime import distributed
from unlogit.runtime.bar import ProgressBar
from unlogit.runtime.checkpoint import FINGERPRINTS, Checkpoints, check_unchanged
from unlogit.runtime.device import Precision, described, fastest_precision, pick_device
from unlogit.runtime.progress import Due, announce, in_words, interruptible
from unlogit.training.health import Health, NotFinite, check_finite
from unlogit.training.run_folder import RunFolder, plain
from unlogit.training.tracking import Tracker, check_installed, open_tracker
from unlogit.training.validation import Validator
from unlogit.trust import trusting

STATE: dict[str, type] = {
    "images": int,
    "shift": Tensor,
    "scale": Tensor,
    "rollbacks": int,
    "source": int,
    "precision": str,
    "config": dict,
    FINGERPRINTS: dict,
}
"""Types of the values in a checkpoint beside the method's own parts."""
NEEDED = ("images", "shift", "scale")
"""Values in the checkpoints of every version."""


def train(config: TrainConfig, heading: str = "") -> dict[str, float]:
    """Train an inverter, or resume where an earlier call with the same configuration stopped.

    Writes config.json, metrics.jsonl, samples/, checkpoints/, inverter/ and best/ into `config.out`.

    Args:
        config: configuration of the run.
        heading: first line of the log.

    Returns:
        the metrics of the last validation.

    Raises:
        UnlogitError: wrong sources, another configuration or something else in the folder, another process that
            writes it, a damaged checkpoint, another classifier or other images than those of the checkpoint, a loss
            that is not finite, a full disk, a process that is gone.
    """
    check_installed(config.track)
    device = pick_device(config.device)
    distributed.start(device)
    try:
        classifier = None
        if not isinstance(config.classifier, str):
            check_processes(distributed.world_size())
            classifier = open_classifier(config.classifier)
            config = replace(config, classifier=classifier.spec)
        RunFolder(config.out).check(config)
        lock = nullcontext() if distributed.rank() else locked(config.out)
        trust = trusting(config.trust_code)
        with report_disk_full(config.out), distributed.exchanging(), lock, trust, binding(classifier):
            return Training(config, device).run(heading)
    finally:
        distributed.stop()


class Training:
    """One process's share of a run."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.lead = distributed.rank() == 0
        self.folder = RunFolder(config.out)
        announce(f"opening the images {config.images} and {config.held_out}")
        source, held_out = (open_images(spec, strict=config.strict) for spec in (config.images, config.held_out))
        if self.lead:
            warn_of_overlap(source, held_out)
        self.checkpoints = Checkpoints(self.folder.checkpoints)
        saved = self.checkpoints.load()
        if saved is not None:
            self._check_state(saved)
            self.folder.compare(saved.get("config", plain(config)), config)
        before = len(source) if saved is None else saved.get("source", len(source))
        if before != len(source):
            raise UnlogitError(
                f"{config.images}: holds {len(source):,} images, and held {before:,} when the run was saved: "
                "restore the same images to resume, or give another --out"
            )
        self.precision = self._precision(saved)
        config = replace(config, precision=self.precision)
        self.fingerprints: dict[str, str] = {}
        self._identify(saved, {"images": source, "held_out": held_out})
        self.rollbacks = 0
        self.data = TrainingData(config, source, device, saved)
        announce("building the networks")
        self.trainer = trainer_of(config.method)(config, self.data, device)
        self._identify(saved, self.trainer.frozen_networks())
        if saved is None:
            self.trainer.begin()
        else:
            self._restore(saved)
        announce("preparing the validation")
        self.validator = Validator(config, self.data.representation, held_out, self.trainer.frozen_networks().values())
        if self.lead:
            self.folder.begin(self.config, self.trainer.images)
        self.health = Health(config)
        self.tracker: Tracker | None = None

    def _check_state(self, saved: dict[str, Any]) -> None:
        """Raise `UnlogitError` where a checkpoint lacks what a run saves, or holds something else in its place."""
        for name, kind in STATE.items():
            needed = name in NEEDED
            if (needed and name not in saved) or (name in saved and type(saved[name]) is not kind):
                what = "is missing" if name not in saved else f"is {type(saved[name]).__name__}, not {kind.__name__}"
                raise UnlogitError(
                    f"checkpoint '{self.checkpoints.paths()[-1]}' is damaged ('{name}' {what}): "
                    "delete it to resume from the one before, or give another --out"
                )

    def _precision(self, saved: dict[str, Any] | None) -> Precision:
        """Return the configured precision; for "auto" the faster one, measured at the start and kept on resumption."""
        if self.config.precision != "auto":
            return self.config.precision
        if saved is not None and saved.get("precision") in ("fp32", "bf16"):
            precision: Precision = saved["precision"]
            return precision
        announce("choosing the precision")
        # All processes use one precision: bf16 only if it is faster for each.
        return "fp32" if distributed.any_rank(fastest_precision(self.device) == "fp32") else "bf16"

    def run(self, heading: str = "") -> dict[str, float]:
        """Train to the end and return the metrics of the last validation."""
        with interruptible(self.lead) as interrupted, self._progress() as bar, self._tracked():
            if self.lead:
                if heading:
                    bar.report(heading)
                bar.report(f"{described(self.device)}; precision {self.precision}")
            figures: dict[str, float] | None = None
            while figures is None:
                try:
                    figures = self._go_on(interrupted, bar)
                except NotFinite as error:
                    self._roll_back(error, bar)
        training, held_out = self.data.loader.source.broken, self.validator.loader.source.broken
        training.reasons = distributed.union(training.reasons)
        if self.lead:
            training.warn()
            held_out.warn()
            figures = figures or next(reversed(self.folder.validations()), {})
        return figures

    def _go_on(self, interrupted: Callable[[], bool], bar: ProgressBar) -> dict[str, float]:
        config, state = self.config, self.trainer
        due = {name: Due(every, state.images) for name, every in self._intervals().items()}
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        steps, started, since = 0, time.monotonic(), state.images
        figures: dict[str, float] = {}
        begin = state.images
        while state.images < config.num_images:
            before = state.images
            state.schedule()
            for name, value in state.step().items():
                sums[name] += value
            steps += 1
            bar.update(state.images - before)
            if before == begin and self.lead:
                self._estimate(started, state.images - before, bar, sums.values())
            finished = state.images >= config.num_images
            stopping = distributed.any_rank(interrupted())
            turned = any(before < edge <= state.images for edge in config.method.turns)
            if due["log"](state.images) or finished or turned:
                means = distributed.mean(float(v) / steps for v in sums.values())
                line = dict(zip(sums, means, strict=True))
                check_finite(line, state.images)
                seconds = time.monotonic() - started
                line |= {"images_per_second": (state.images - since) / seconds}
                if self.lead:
                    self._log(line)
                    bar.set_postfix({k: f"{v:.3f}" for k, v in line.items() if k != "images_per_second"})
                    self._warn(self.health.losses(line), bar)
                sums.clear()
                steps, started, since = 0, time.monotonic(), state.images
            due_validation = due["validate"](state.images) or finished
            due_checkpoint = due["checkpoint"](state.images) or finished or stopping
            if due_validation or due_checkpoint:
                self._check_weights()
            if due_validation:
                figures = self._validate(bar)
                started = time.monotonic()
                since = state.images
            if due_checkpoint:
                self._save()
            if stopping and not finished:
                raise KeyboardInterrupt(f"stopped at {state.images:,} images; the same command resumes from there")
        return figures

    def _identify(self, saved: dict[str, Any] | None, parts: Mapping[str, Classifier | ImageSource]) -> None:
        """Record fingerprints of inputs; raise `UnlogitError` where they differ from the checkpoint's."""
        for name, part in parts.items():
            self.fingerprints[name] = part.fingerprint()
            check_unchanged(saved, name, part.spec, self.fingerprints[name])

    def _restore(self, saved: dict[str, Any]) -> None:
        self.trainer.load_state_dict(saved)
        self.rollbacks = max(self.rollbacks, saved.get("rollbacks", 0))
        self.trainer.at_rate(0.5**self.rollbacks)

    def _roll_back(self, error: NotFinite, bar: ProgressBar) -> None:
        """Return to the last checkpoint with half the learning rates, or raise `UnlogitError` where none is left."""
        paths = self.checkpoints.paths()
        if not paths or self.rollbacks >= self.config.rollback:
            advice = f"the last good checkpoint is {paths[-1]}: the same command with " if paths else "run again with "
            raise UnlogitError(
                f"{error}; {advice}--rollback {self.rollbacks + 3}; "
                "or with lower learning rates in a new --out, or --precision fp32"
            ) from error
        saved = self.checkpoints.load()
        assert saved is not None
        self.rollbacks += 1
        self._restore(saved)
        if self.lead:
            self.folder.begin(self.config, self.trainer.images)
            self._log({"rollbacks": float(self.rollbacks)})
            message = f"{error}: back to {self.trainer.images:,} images, learning rates times {0.5**self.rollbacks:g}"
            self._warn([f"{message} (rollback {self.rollbacks} of {self.config.rollback})"], bar)
        bar.n = self.trainer.images
        bar.refresh()

    def _log(self, values: dict[str, float]) -> None:
        """Write metrics to the run's folder, and send them to the tracker if there is one."""
        self.folder.log(self.trainer.images, values)
        if self.tracker is not None:
            self.tracker.log(self.trainer.images, values)

    @contextmanager
    def _tracked(self) -> Iterator[None]:
        self.tracker = open_tracker(self.config, self.trainer.images) if self.lead else None
        try:
            yield
        finally:
            if self.tracker is not None:
                self.tracker.close()

    def _warn(self, lines: Iterable[str], bar: ProgressBar) -> None:
        for line in lines:
            bar.report(f"warning at {self.trainer.images:,} images: {line}")

    def _estimate(self, started: float, images: int, bar: ProgressBar, losses: Iterable[Tensor]) -> None:
        """Print the remaining time at the speed of the first step, with advice if it is long."""
        for loss in losses:
            loss.item()  # Wait until a GPU has finished the step.
        left = (self.config.num_images - self.trainer.images) * (time.monotonic() - started) / images
        bar.report(f"{in_words(left)} left at the speed of the first step")
        self._warn(self.health.time_left(left), bar)

    def _intervals(self) -> dict[str, int]:
        config = self.config
        return {"log": config.log_every, "validate": config.validate_every, "checkpoint": config.checkpoint_every}

    def _validate(self, bar: ProgressBar) -> dict[str, float]:
        """Compute metrics, sample grid and inverter in all processes; the first one reports and saves them."""
        state = self.trainer
        facts: dict[str, Any] = {
            "deviations": self.config.deviations,
            "source": state.source,
            "precision": self.precision,
        }
        facts |= {"training_fingerprint": self.fingerprints["images"]}
        inverter = state.inverter(facts | ({"rollbacks": self.rollbacks} if self.rollbacks else {}))
        figures = self.validator(inverter, state.images, self.folder)
        if not self.lead:
            return figures
        earlier = self.folder.validations()
        self._log({f"val/{k}": v for k, v in figures.items()})
        if self.tracker is not None:
            self.tracker.sample(state.images, self.folder.sample(state.images))
        shown = ", ".join(f"{k} {v:.3f}" for k, v in figures.items())
        bar.report(f"{state.images:,} images: {shown}", sys.stdout)
        self._warn(self.health.figures(figures, earlier), bar)
        return figures

    def _check_weights(self) -> None:
        if distributed.any_rank(not self.trainer.finite()):
            raise NotFinite(f"weights not finite at {self.trainer.images:,} images")

    def _save(self) -> None:
        if self.lead:
            constants = self.data.representation
            extra: dict[str, Any] = {"shift": constants.shift.cpu(), "scale": constants.scale.cpu()}
            extra |= {"rollbacks": self.rollbacks, "source": len(self.data.loader.source)}
            extra |= {"precision": self.precision}
            extra |= {"config": plain(self.config), FINGERPRINTS: self.fingerprints}
            self.checkpoints.save(self.trainer.images, self.trainer.state_dict() | extra)

    def _progress(self) -> ProgressBar:
        name = "/".join(self.config.out.parts[-2:])
        return ProgressBar(name, self.config.num_images, self.trainer.images, shown=self.lead)
