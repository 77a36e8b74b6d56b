"""The base class of trainable methods: networks, their optimisers, one training step and the resulting inverter."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Adam

from unlogit.classifiers import Classifier
from unlogit.errors import UnlogitError
from unlogit.methods._config import MethodConfig
from unlogit.methods._data import TrainingData
from unlogit.methods._train_config import TrainConfig
from unlogit.methods._trained import LearnedInverter
from unlogit.runtime import distributed
from unlogit.runtime.device import autocast
from unlogit.runtime.ema import MovingAverage, decay

NORMED = ".parametrizations.weight"
POWER_ITERATIONS = 15


M = TypeVar("M", bound=MethodConfig)


class Trainer(ABC, Generic[M]):
    """State of a run, and the training step that changes it.

    A subclass builds its networks and optimisers in `setup`, in a fixed order, since all draw from one random state.

    Attributes:
        images: number of training images seen.
        network: the network that becomes the inverter.
        average: its exponential moving average, which is evaluated and saved.
    """

    network: nn.Module

    def __init__(self, config: TrainConfig, data: TrainingData, device: torch.device) -> None:
        self.config, self.method, self.data, self.device = config, config.method, data, device
        self.images = 0
        torch.manual_seed(config.seed)
        self.setup()
        self.average = MovingAverage(self.network)
        self.rate = 1.0
        self._rates = [[group["lr"] for group in optimiser.param_groups] for optimiser in self._optimisers()]

    @property
    @abstractmethod
    def source(self) -> str:
        """Paper of the method, for the model card."""

    @abstractmethod
    def setup(self) -> None:
        """Build `network` and everything else that is trained."""

    def begin(self) -> None:
        """Prepare a run that does not resume from a checkpoint."""
        if self.config.start is not None:
            self._start(self.config.start)

    @abstractmethod
    def parts(self) -> dict[str, Any]:
        """Return the parts of a checkpoint beside the average: modules and optimisers by name."""

    def frozen_networks(self) -> dict[str, Classifier]:
        """Return the frozen networks that take part in training by option: the inverted one and those of losses."""
        return {"classifier": self.data.representation.classifier}

    @abstractmethod
    def step(self) -> dict[str, Tensor]:
        """Train on the next `step_images` images and count them; return the metrics to log."""

    @abstractmethod
    def inverter(self, facts: dict[str, Any]) -> LearnedInverter:
        """Return an inverter made of the average, to be evaluated and saved."""

    # Shared

    @property
    def step_images(self) -> int:
        """Number of images that a step consumes."""
        return self.config.batch

    @property
    def precision(self) -> torch.autocast:
        return autocast(self.device, self.config.precision)

    @property
    def ema_decay(self) -> float:
        """Share of the average that the next update keeps.

        The half-life is shorter at first (Karras et al. 2024). With `ema_start`, the average is the current weights
        until then, and the half-life is constant.
        """
        if self.images < self.config.ema_start:
            return 0.0
        seen = None if self.config.ema_start else self.images
        return decay(self.step_images, self.config.ema_half_life, seen)

    def update(self, module: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        """Take one step of an optimiser down a loss, with gradients averaged over processes."""
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.apply(module, optimiser)

    def apply(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Take one step of an optimiser by the gradients in place, averaged over processes; average the weights."""
        distributed.average_gradients(module)
        optimiser.step()
        if module is self.network:
            self.average.update(module, self.ema_decay)

    def adam(self, parameters: Iterable[nn.Parameter], learning_rate: float, betas: tuple[float, float]) -> Adam:
        """Return Adam, fused: one pass over memory, the same within rounding."""
        return Adam(parameters, learning_rate, betas, fused=True)

    def _start(self, name: str) -> None:
        """Begin with the weights of a trained inverter's network; raises `UnlogitError` where they do not fit."""
        from unlogit.methods import open_inverter  # It imports this module.

        begun = open_inverter(name)
        if not isinstance(begun, LearnedInverter):
            raise UnlogitError(f"start '{name}': has no weights to start from; give a trained inverter")
        # Saved networks have their spectral norms folded in.
        original = f"{NORMED}.original"
        normed = {k.replace(original, ".weight"): k for k in self.network.state_dict() if k.endswith(original)}
        weights = {normed.get(k, k): v for k, v in self.starting_network(begun).state_dict().items()}
        try:
            missing, left = self.network.load_state_dict(weights, strict=False)
            wrong = [name for name in missing if NORMED not in name] + left
        except RuntimeError as error:
            wrong = [str(error).splitlines()[-1].strip()]
        if wrong:
            raise UnlogitError(
                f"start '{name}' does not fit this configuration ({wrong[0]}): "
                "give the method, size and network options that it was trained with"
            )
        for layer in self.network.modules():
            if nn.utils.parametrize.is_parametrized(layer):
                for _ in range(POWER_ITERATIONS):
                    _ = layer.weight  # Each access in training mode is one power iteration.
        self.average.module.load_state_dict(self.network.state_dict())
        self.start_discriminator(begun)

    def starting_network(self, begun: LearnedInverter) -> nn.Module:
        """Return the network that provides the starting weights: the inverter's, or one derived from it that fits."""
        return begun.network

    def start_discriminator(self, begun: LearnedInverter) -> None:
        """Begin with the discriminator that is saved with the inverter, if both it and the method have one."""

    def at_rate(self, rate: float) -> None:
        """Continue with the configured learning rates times `rate`."""
        self.rate = rate
        self.schedule()

    def schedule(self) -> None:
        """Set the learning rates of the next step: they fall linearly to zero over the last `decay` of the run."""
        total, decay = self.config.num_images, self.config.decay
        rate = self.rate * (min(1.0, (1 - self.images / total) / decay) if decay else 1.0)
        for optimiser, learning_rates in zip(self._optimisers(), self._rates, strict=True):
            for group, learning_rate in zip(optimiser.param_groups, learning_rates, strict=True):
                group["lr"] = rate * learning_rate

    def finite(self) -> bool:
        """Return whether all weights are finite, including the average and running statistics."""
        modules = [part for part in self._all().values() if isinstance(part, nn.Module)]
        return all(bool(t.isfinite().all()) for module in modules for t in (*module.parameters(), *module.buffers()))

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        return [part for part in self.parts().values() if isinstance(part, torch.optim.Optimizer)]

    def _all(self) -> dict[str, Any]:
        return self.parts() | {"average": self.average}

    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images} | {name: part.state_dict() for name, part in self._all().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a checkpoint; raise `UnlogitError` where its networks have another shape."""
        try:
            for name, part in self._all().items():
                if isinstance(part, torch.optim.Optimizer):
                    # The implementation of the optimiser is not part of the checkpoint.
                    for group, saved in zip(part.param_groups, state[name]["param_groups"], strict=False):
                        saved["fused"], saved["foreach"] = group["fused"], group["foreach"]
                part.load_state_dict(state[name])
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise UnlogitError(
                f"checkpoint does not fit this configuration ({str(error).splitlines()[-1].strip()}): "
                "give the configuration that the run was started with, or another --out"
            ) from error
        self.images = state["images"]


@contextlib.contextmanager
def freeze_parameters(module: nn.Module) -> Iterator[None]:
    """Compute no gradients for a module's parameters, as for D in G's update, which only passes gradients through."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
