"""The training loop: plain, countable in pictures, the same from any checkpoint on.

Everything random is a function of (seed, pictures seen), so that a resumed run repeats what an uninterrupted one does,
and any number of processes sees the same global batches.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from unlogit import distributed
from unlogit.classifiers import open_classifier
from unlogit.images import Loader, View, open_images
from unlogit.networks import Generator, ProjectedDiscriminator
from unlogit.representation import Representation, RepresentationCache
from unlogit.training import objective
from unlogit.training.checkpoint import Checkpoints
from unlogit.training.config import TrainConfig
from unlogit.training.device import autocast, pick_device
from unlogit.training.health import check_finite, warnings
from unlogit.training.records import RunFolder
from unlogit.training.state import WARM_LEARNING_RATE, TrainState
from unlogit.training.validation import Validator

CALIBRATION_PICTURES = 2_048
MAPS_PICTURES = 256
NOISE_D, NOISE_G = 0, 1


def train(config: TrainConfig) -> dict[str, float]:
    """Train an inverter, or go on where an earlier call with the same configuration stopped.

    Writes config.json, metrics.jsonl, samples/, checkpoints/ and inverter/ into `config.out`.

    Returns:
        the last validation figures.

    Raises:
        UnlogitError: wrong sources, another configuration in the folder, a damaged checkpoint, a loss that is not
            finite.
    """
    device = pick_device()
    distributed.start(device)
    try:
        return Training(config, device).run()
    finally:
        distributed.stop()


class Training:
    """One process's share of a run."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.lead = distributed.rank() == 0
        self.folder = RunFolder(config.out)
        self.folder.check(config)
        source, held_out = open_images(config.images), open_images(config.held_out)
        classifier = open_classifier(config.classifier).to(device)
        self.view = View(config.generator.size, config.crop, config.flip)
        self.loader = Loader(
            source,
            self.view,
            config.batch,
            seed=config.seed,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
        )
        self.checkpoints = Checkpoints(config.out / "checkpoints")
        saved = self.checkpoints.load()
        if saved is None:
            self.representation = Representation(classifier, config.tap).to(device)
            calibration = Loader(source, self.view, min(config.batch, 64), seed=config.seed)
            steps = range(0, min(CALIBRATION_PICTURES, len(source)), calibration.batch_size)
            self.representation.fit(calibration.batch(p).images.to(device) for p in steps)
        else:
            self.representation = Representation(classifier, config.tap, saved["shift"], saved["scale"]).to(device)
        self.cache = RepresentationCache(config.cache, self.representation, source, self.view)
        self.state = TrainState(config, self.representation.dim, device)
        if saved is not None:
            self.state.load_state_dict(saved)
        elif isinstance(self.state.discriminator, ProjectedDiscriminator):
            few = [calibration.batch(p).images for p in steps[: max(1, MAPS_PICTURES // calibration.batch_size)]]
            self.state.discriminator.calibrate(torch.cat(few).to(device))
        if self.lead:
            self.folder.begin(config, self.state.images)
        self.validator = Validator(config, self.representation, held_out, self.conditions)

    # One step

    def noise(self, position: int, which: int) -> Tensor:
        """This process's rows of the noise that belongs to the global batch at `position`."""
        # Mixed, since torch's generator on the CPU reads no more than 32 bits of a seed.
        mixed = np.random.SeedSequence([self.config.seed, position, which]).generate_state(1)
        generator = torch.Generator().manual_seed(int(mixed[0]))
        noise = torch.randn(self.config.batch, self.config.generator.noise, generator=generator)
        return noise.chunk(distributed.world_size())[distributed.rank()].to(self.device)

    def pair(self, position: int) -> tuple[Tensor, Tensor]:
        """Pictures and their standardised representation."""
        batch = self.loader.batch(position)
        raw = self.cache(batch).to(self.device)
        return batch.images.to(self.device), self.representation.standardise(raw)

    def conditions(self, batches: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(representation, noise) from the first training pictures, for standing statistics."""
        for i in range(batches):
            position = i * self.config.batch
            yield self.pair(position)[1], self.noise(position, NOISE_G)

    def warm_step(self) -> dict[str, Tensor]:
        """Fit the generator alone to the coarse layout."""
        state = self.state
        for group in state.optimiser_warm.param_groups:
            group["lr"] = WARM_LEARNING_RATE * (1 - 0.9 * state.images / self.config.warm_start)
        images, representation = self.pair(state.images)
        with autocast(self.device, self.config.precision):
            fake = state.generator(representation, self.noise(state.images, NOISE_G))
        loss = objective.warm_start_loss(fake, images)
        self._update(state.generator, state.optimiser_warm, loss)
        state.images += self.config.batch
        return {"loss_warm": loss.detach(), "layout": objective.layout_loss(fake, images).detach()}

    def step(self) -> dict[str, Tensor]:
        """`d_steps` discriminator steps and one generator step."""
        config, state = self.config, self.state
        precision = autocast(self.device, config.precision)
        for _ in range(config.d_steps):
            position = state.images
            images, representation = self.pair(position)
            noise = self.noise(position, NOISE_D)
            with precision, torch.set_grad_enabled(config.shared_fakes):
                fake = state.generator(representation, noise)
                seen_fake = state.discriminator.frozen(fake)
            with precision:
                with torch.no_grad():
                    seen_real = state.discriminator.frozen(images)
                # One pass for real and fake: the discriminator has no batch statistics that could mix them.
                both = [torch.cat([r, f.detach()]) for r, f in zip(seen_real, seen_fake, strict=True)]
                scores = state.discriminator.judge(both, representation.repeat(2, 1))
                real, fakes = zip(*(s.float().chunk(2) for s in scores), strict=True)
                loss_d = objective.discriminator_loss(real, fakes)
            self._update(state.discriminator, state.optimiser_d, loss_d)
            state.images += config.batch
        with precision:
            if not config.shared_fakes:
                fake = state.generator(representation, self.noise(position, NOISE_G))
                seen_fake = state.discriminator.frozen(fake)
            with frozen(state.discriminator):
                scores = state.discriminator.judge(seen_fake, representation)
            loss_g = objective.generator_loss([s.float() for s in scores])
        layout = objective.layout_loss(fake, images)
        total = loss_g + config.layout_weight * layout if config.layout_weight else loss_g
        self._update(state.generator, state.optimiser_g, total)
        return {
            "loss_d": loss_d.detach(),
            "loss_g": loss_g.detach(),
            "score_real": torch.stack([r.detach().mean() for r in real]).mean(),
            "score_fake": torch.stack([f.detach().mean() for f in fakes]).mean(),
            "layout": layout.detach(),
        }

    def _update(self, module: torch.nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        distributed.average_gradients(module)
        optimiser.step()
        if module is self.state.generator:
            self.state.average.update_parameters(module)

    # The run

    def run(self) -> dict[str, float]:
        config, state = self.config, self.state
        state.generator.train()
        state.discriminator.train()
        due = {name: Due(every, state.images) for name, every in self._intervals().items()}
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        steps, started, since = 0, time.monotonic(), state.images
        figures: dict[str, float] = {}
        with interruptible() as interrupted, self._progress() as bar:
            while state.images < config.pictures:
                before = state.images
                for name, value in (self.warm_step() if before < config.warm_start else self.step()).items():
                    sums[name] += value
                steps += 1
                bar.update(state.images - before)
                finished = state.images >= config.pictures
                stopping = self._anywhere(interrupted())
                if due["log"](state.images) or finished or before < config.warm_start <= state.images:
                    means = distributed.mean(float(v) / steps for v in sums.values())
                    line = dict(zip(sums, means, strict=True))
                    check_finite(line, state.images, self.checkpoints)
                    seconds = time.monotonic() - started
                    line |= {"images_per_second": (state.images - since) / seconds}
                    if self.lead:
                        self.folder.log(state.images, line)
                        bar.set_postfix({k: f"{v:.3f}" for k, v in line.items() if k != "images_per_second"})
                        for warning in warnings(line, figures):
                            bar.write(f"warning at {state.images:,} pictures: {warning}", file=sys.stderr)
                    sums.clear()
                    steps, started, since = 0, time.monotonic(), state.images
                if due["validate"](state.images) or finished:
                    figures = self._validate(bar)
                    started = time.monotonic()
                    since = state.images
                if due["checkpoint"](state.images) or finished or stopping:
                    self._save()
                if stopping and not finished:
                    raise KeyboardInterrupt(
                        f"stopped at {state.images:,} pictures; the same command goes on from there"
                    )
        if not figures and self.lead:
            figures = self.folder.last_validation()
        return figures

    def _intervals(self) -> dict[str, int]:
        config = self.config
        return {"log": config.log_every, "validate": config.validate_every, "checkpoint": config.checkpoint_every}

    def _validate(self, bar: tqdm[None]) -> dict[str, float]:
        """Figures, sample grid and saved inverter, by the first process; the others wait at their next exchange."""
        if not self.lead:
            return {}
        state = self.state
        average = state.average.module
        assert isinstance(average, Generator)
        figures = self.validator(average, state.images, self.folder)
        self.folder.log(state.images, {f"val/{k}": v for k, v in figures.items()})
        shown = ", ".join(f"{k} {v:.3f}" for k, v in figures.items())
        bar.write(f"{state.images:,} pictures: {shown}")
        return figures

    def _save(self) -> None:
        if self.lead:
            extra = {"shift": self.representation.shift.cpu(), "scale": self.representation.scale.cpu()}
            self.checkpoints.save(self.state.images, self.state.state_dict() | extra)

    def _anywhere(self, flag: bool) -> bool:
        """Whether any process was asked to stop, so that all stop after the same step."""
        return flag if distributed.world_size() == 1 else distributed.mean([float(flag)])[0] > 0

    def _progress(self) -> tqdm[None]:
        return tqdm(
            total=self.config.pictures,
            initial=self.state.images,
            desc="/".join(self.config.out.parts[-2:]),
            unit="img",
            unit_scale=True,
            disable=None if self.lead and sys.stderr.isatty() else not self.lead,
            mininterval=0.5 if sys.stderr.isatty() else 30.0,
            dynamic_ncols=True,
        )


class Due:
    """Says yes once whenever a count passes a multiple of `every`."""

    def __init__(self, every: int, start: int) -> None:
        self.every, self.passed = every, start // every

    def __call__(self, count: int) -> bool:
        passed, self.passed = self.passed, count // self.every
        return self.passed > passed


@contextlib.contextmanager
def frozen(module: torch.nn.Module) -> Iterator[None]:
    """No gradients for a module's parameters: the G step needs only those that pass through."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM ask the loop to stop after its step; the second one stops at once."""
    asked: list[int] = []
    former: dict[int, object] = {}

    def ask(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            former[number] = signal.signal(number, ask)
    except ValueError:  # Not in the main thread: whoever runs us there stops us by other means.
        pass
    try:
        yield lambda: bool(asked)
    finally:
        for caught, handler in former.items():
            signal.signal(caught, handler)  # type: ignore[arg-type]
