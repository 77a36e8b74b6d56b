"""The loop that fits a classifier: counted in images, the same from any checkpoint on."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor, nn

from unlogit.classifier_training.accuracy import clean_accuracy
from unlogit.classifier_training.config import FitConfig
from unlogit.classifier_training.muon import Muon
from unlogit.classifier_training.objectives import OBJECTIVES, LayoutHead, Objective, with_layout
from unlogit.classifiers import Classifier
from unlogit.classifiers.small import SmallResNet
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, Loader, View
from unlogit.runtime import distributed
from unlogit.runtime.bar import ProgressBar
from unlogit.runtime.checkpoint import Checkpoints
from unlogit.runtime.device import autocast
from unlogit.runtime.ema import MovingAverage, decay
from unlogit.runtime.progress import Due, Metrics, interruptible
from unlogit.runtime.seeds import seeded

WARM = 5
"""The learning rates go up for one part in so many of the training, and then down."""

RAMP = 0.6
"""Share of the training over which the radius of its attacks grows to epsilon."""


class Fitting:
    """One process's share of a fitting.

    Args:
        classifier: to be trained; it is changed.
        labels: which logit each of the images' labels is; None where they are the same.
        held_out: images that `config.target_accuracy` is measured on; None where there is no target.
    """

    def __init__(
        self,
        config: FitConfig,
        classifier: Classifier,
        source: ImageSource,
        labels: Tensor | None,
        device: torch.device,
        held_out: Loader | None = None,
    ) -> None:
        self.config, self.device, self.labels, self.held_out = config, device, labels, held_out
        self.classifier = classifier.to(device)
        self.lead = distributed.rank() == 0
        self.images = 0
        self.on_target = False
        self.steps = -(-config.num_images // config.batch)
        self.loader = Loader(
            source,
            View(config.size, config.crop, config.flip, reduced=True),
            config.batch,
            seed=config.seed,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
        )
        self.optimisers = _optimisers(classifier.network, config)
        self.objective: Objective = OBJECTIVES[config.objective]
        self.head: LayoutHead | None = None
        if config.layout_weight:
            self.head = _layout_head(len(classifier.class_names), config).to(device)
            self.objective = with_layout(self.objective, self.head, config.layout_weight)
            self.optimisers.append(_peaking(torch.optim.AdamW(self.head.parameters(), config.learning_rate_rest)))
        self.average = MovingAverage(classifier.network, use_buffers=True) if config.ema_half_life else None

    @property
    def step_number(self) -> int:
        return self.images // self.config.batch

    @property
    def finished(self) -> bool:
        return self.on_target or self.step_number >= self.steps

    @property
    def epsilon(self) -> float:
        """From nothing to the full radius: under the full one from the start, hardly anything is learnt at all."""
        return self.config.epsilon * min(1.0, self.step_number / (RAMP * self.steps))

    def noise(self) -> Tensor:
        """Standard normal, for this process's images of the global batch."""
        generator = seeded(self.config.seed, self.images)
        noise = torch.randn(self.config.batch, 3, self.config.size, self.config.size, generator=generator)
        return noise.chunk(distributed.world_size())[distributed.rank()].to(self.device)

    def step(self) -> Tensor:
        """One batch; returns the loss."""
        config = self.config
        warm = max(1, self.steps // WARM)
        share = min((self.step_number + 1) / warm, (self.steps - self.step_number) / (self.steps - warm + 1))
        batch = self.loader.batch(self.images)
        labels = (batch.labels if self.labels is None else self.labels[batch.labels]).to(self.device)
        with autocast(self.device, config.precision):
            loss = self.objective(
                self.classifier, batch.images.to(self.device), labels, self.noise(), config.settings(self.epsilon)
            )
        trained = [self.classifier.network] if self.head is None else [self.classifier.network, self.head]
        for module in trained:
            module.zero_grad()
        loss.backward()
        for module in trained:
            distributed.average_gradients(module)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * share
            optimiser.step()
        self.images += config.batch
        if self.average is not None:
            self.average.update(self.classifier.network, decay(config.batch, config.ema_half_life, self.images))
        return loss.detach()

    def run(self, checkpoints: Checkpoints, metrics: Metrics, record: dict[str, Any]) -> None:
        """To the end, with lines of metrics and checkpoints on the way.

        `record`, the configuration and what it depends on, goes into the checkpoints. Raises `UnlogitError` where the
        loss is not finite, and KeyboardInterrupt, after saving, on SIGINT or SIGTERM.
        """
        config = self.config
        if self.lead:
            metrics.begin(self.images)
        due_log, due_save = Due(config.log_every, self.images), Due(config.checkpoint_every, self.images)
        due_target = Due(config.target_every, self.images)
        total = torch.zeros((), device=self.device)
        started, since = time.monotonic(), self.images
        with interruptible(self.lead) as interrupted, self._progress() as bar:
            while not self.finished:
                total += self.step()
                bar.update(config.batch)
                if self.held_out is not None and config.target_accuracy is not None and due_target(self.images):
                    self.on_target = self._held_out_accuracy(self.held_out) >= config.target_accuracy
                finished = self.finished
                if due_log(self.images) or finished:
                    steps = (self.images - since) // config.batch
                    (loss,) = distributed.mean([float(total) / steps])
                    self._check(loss, checkpoints)
                    speed = (self.images - since) / (time.monotonic() - started)
                    radius = {} if config.objective == "standard" else {"epsilon": self.epsilon}
                    if self.lead:
                        metrics.log(self.images, {"loss": loss, **radius, "images_per_second": speed})
                        bar.set_postfix(loss=f"{loss:.3f}")
                    total.zero_()
                    started, since = time.monotonic(), self.images
                stopping = distributed.any_rank(interrupted())
                if due_save(self.images) or stopping or finished:
                    self._check(float(total), checkpoints)
                    if self.lead:
                        checkpoints.save(self.images, self.state_dict() | record)
                    if stopping and not finished:
                        raise KeyboardInterrupt(
                            f"stopped at {self.images:,} images; the same command resumes from there"
                        )

    def result(self) -> Classifier:
        """What was fitted, in evaluation mode: averaged weights where there are any, all processes' statistics."""
        network = self.classifier.network if self.average is None else self.average.module
        distributed.average_buffers(network)
        one = self.classifier
        return Classifier(network, one.preprocessing, one.class_names, one.penultimate, self.config.spec).to(
            self.device
        )

    def _held_out_accuracy(self, held_out: Loader) -> float:
        """Measure what would be the result now, and go on training."""
        reached = clean_accuracy(self.result(), held_out, self.labels, self.config.num_test_images)
        if self.average is None:  # What was measured is the network in training itself.
            self.classifier.network.requires_grad_(True).train()
        return float(reached["accuracy"])

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"network": self.classifier.network}
        if self.head is not None:
            parts["head"] = self.head
        parts |= {f"optimiser_{index}": optimiser for index, optimiser in enumerate(self.optimisers)}
        return parts if self.average is None else parts | {"average": self.average}

    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images, "on_target": self.on_target} | {
            name: part.state_dict() for name, part in self._parts().items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.images = state["images"]
        self.on_target = state.get("on_target", False)  # Checkpoints of version 0.1.0 have no target.

    def _check(self, loss: float, checkpoints: Checkpoints) -> None:
        if math.isfinite(loss):
            return
        paths = checkpoints.paths()
        advice = f"the last good checkpoint is {paths[-1]}; " if paths else ""
        raise UnlogitError(
            f"the loss is {loss} after {self.images:,} images: {advice}lower the learning rate, in a new --out"
        )

    def _progress(self) -> ProgressBar:
        name = "/".join(self.config.out.parts[-2:])
        return ProgressBar(name, self.steps * self.config.batch, self.images, shown=self.lead)


def _optimisers(network: nn.Module, config: FitConfig) -> list[torch.optim.Optimizer]:
    """Muon for the built-in network's convolutions in residual blocks, AdamW for all else.

    The built-in one learns scenes from far fewer images so than by SGD or AdamW alone (docs/lab-notes.md).
    """
    filters = [p for p in network.stages.parameters() if p.ndim == 4] if isinstance(network, SmallResNet) else []
    chosen = set(map(id, filters))
    rest = [p for p in network.parameters() if id(p) not in chosen]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, config.learning_rate_rest)]
    if filters:
        optimisers.insert(0, Muon(filters, config.learning_rate))
    return [_peaking(optimiser) for optimiser in optimisers]


def _peaking(optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Keep each learning rate as the peak of the one cycle."""
    for group in optimiser.param_groups:
        group["peak"] = group["lr"]
    return optimiser


def _layout_head(logits: int, config: FitConfig) -> LayoutHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return LayoutHead(logits, config.layout_shuffled)
