"""Readers of known factors, fitted on real scenes, and their targets as vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from unlogit.classifier_training.muon import Muon
from unlogit.images._shapes import SHAPES
from unlogit.images.scenes import FACTORS, SceneImages
from unlogit.statistics import Difference, Estimate, statistic_test, weighted_bootstrap

BATCH = 64
HIDDEN = 128
MUON_RATE = 0.05
RIDGE = 1e-3
"""Weight of the ridge penalty, per image, on standardised inputs."""


@dataclass(frozen=True)
class Target:
    """One factor's values as vectors, so that squared error means the same for every kind of factor.

    Attributes:
        values: N x D: continuous ones in half ranges from the middle, circular ones as a point of the unit circle,
            binary ones as -1 and 1, categories as one-hot vectors.
        shows: bool, N: where the factor is visible, such as mirroring on a shape that has a handedness.
        classes: int64, N, for binary and categorical factors.
    """

    values: Tensor
    shows: Tensor
    classes: Tensor | None


def targets(factors: dict[str, Tensor], shapes: Tensor) -> dict[str, Target]:
    """Return the targets by factor of scenes with these factors and shapes (int64, N)."""
    result = {}
    for name, factor in FACTORS.items():
        value, classes = factors[name], None
        shows = torch.ones(len(shapes), dtype=torch.bool) if factor.only is None else factors[factor.only].clone()
        match factor.kind:
            case "continuous":
                values = ((value - factor.low) / (factor.high - factor.low) * 2 - 1)[:, None]
            case "circular":
                turns = value.double()
                if name == "rotation":
                    turns, shows = _seen_rotation(turns, factors["mirror"], shapes)
                values = torch.stack([torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)], 1)
            case "binary":
                values, classes = value.double()[:, None] * 2 - 1, value.long()
            case "categorical":
                values, classes = F.one_hot(value, len(factor.names)), value
        if name == "mirror":
            shows = torch.tensor([shape.chiral for shape in SHAPES])[shapes]
        result[name] = Target(values.float(), shows, classes)
    return result


def _seen_rotation(turns: Tensor, mirror: Tensor, shapes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the apparent rotation, and where it is visible: on shapes without rotational symmetry."""
    # The crescent is the only shape with a horizontal axis of symmetry: mirrored, it looks turned by half a turn.
    lying = shapes == [shape.name for shape in SHAPES].index("crescent")
    return turns + 0.5 * (mirror & lying), torch.tensor([shape.symmetry == 1 for shape in SHAPES])[shapes]


def of_source(source: SceneImages, indices: Tensor) -> dict[str, Target]:
    """Return the factors of scenes of a source by index."""
    return targets(source.factors(indices), source.labels[indices])


class Readers:
    """Means of each factor by class, and readers of images and of representations, fitted on real scenes.

    Args:
        factors: targets of the training scenes.
        shapes: classes of the training scenes, int64, M.
        seed: random seed of the weights and of the order of images.
        epochs: number of epochs.
    """

    def __init__(self, factors: dict[str, Target], shapes: Tensor, *, seed: int, epochs: int) -> None:
        self.factors = factors
        self.shapes = shapes
        self.seed = seed
        self.epochs = epochs
        self.widths = [target.values.shape[1] for target in factors.values()]
        self.values = torch.cat([target.values for target in factors.values()], 1)
        self.shown = torch.cat([t.shows[:, None].expand_as(t.values) for t in factors.values()], 1).float()
        one_hot = F.one_hot(shapes, len(SHAPES)).float()
        self.means = (one_hot.T @ (self.values * self.shown)) / (one_hot.T @ self.shown).clamp(min=1)
        # Variance within classes, by which squared errors are divided in training.
        within = ((self.values - self.means[shapes]).square() * self.shown).sum(0) / self.shown.sum(0).clamp(min=1)
        self.scale = within.clamp(min=1e-6)

    def of_class(self, shapes: Tensor) -> dict[str, Tensor]:
        """Return each factor's mean for these classes: its prediction from the class alone."""
        return self._split(self.means[shapes])

    def linear(self, raw: Tensor) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
        """Fit ridge regression from representations M x K and the class; return a function of both."""
        prepare = self._inputs(raw)
        x = prepare(raw, self.shapes).double()
        weights = []
        for values, shows in zip(self.values.split(self.widths, 1), self.factors.values(), strict=True):
            a = x[shows.shows]
            penalty = RIDGE * max(1, len(a)) * torch.eye(a.shape[1], dtype=torch.double)
            weights.append(torch.linalg.solve(a.T @ a + penalty, a.T @ values[shows.shows].double()))
        every = torch.cat(weights, 1).float()
        return lambda new, shapes: self._split(prepare(new, shapes) @ every)

    def mlp(self, raw: Tensor) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
        """Fit a multilayer perceptron on the same inputs; return a function of both."""
        prepare = self._inputs(raw)
        x = prepare(raw, self.shapes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = nn.Sequential(
                nn.Linear(x.shape[1], HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(), self._head(HIDDEN)
            )
        self._fit(network, lambda indices: (x[indices],), "probe of the representation", 2e-3)
        return lambda new, shapes: self._split(network(prepare(new, shapes)).detach())

    def convolutional(
        self, training_images: Callable[[Tensor], Tensor]
    ) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
        """Fit a convolutional network from pixels and the class; return a function of both.

        Args:
            training_images: returns the training scenes at the given indices, n x 3 x S x S in [0, 1].
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = ImageReader(self.values.shape[1])
        one_hot = F.one_hot(self.shapes, len(SHAPES)).float()
        self._fit(network, lambda indices: (training_images(indices), one_hot[indices]), "reader of images", 3e-3)
        return lambda images, shapes: self._split(network(images, F.one_hot(shapes, len(SHAPES)).float()).detach())

    def _head(self, width: int) -> nn.Linear:
        return nn.Linear(width, self.values.shape[1])

    def _inputs(self, raw: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Return a function that standardises representations and appends the class as a one-hot vector."""
        deviation, mean = torch.std_mean(raw, 0)
        deviation = deviation.clamp(min=1e-6)
        return lambda new, shapes: torch.cat([(new - mean) / deviation, F.one_hot(shapes, len(SHAPES)).float()], 1)

    def _fit(self, network: nn.Module, inputs: Callable[[Tensor], tuple[Tensor, ...]], what: str, rate: float) -> None:
        count = len(self.shapes)
        steps = self.epochs * (count // BATCH)
        generator = torch.Generator().manual_seed(self.seed)
        matrices = [p for p in network.parameters() if p.ndim == 4]
        rest = [p for p in network.parameters() if p.ndim != 4]
        optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, rate, weight_decay=0.01)]
        if matrices:
            optimisers.append(Muon(matrices, MUON_RATE))
        schedules = [
            LambdaLR(o, lambda step: min(1.0, 5 * (step + 1) / steps, (steps - step) / (0.8 * steps)))
            for o in optimisers
        ]
        network.train()
        for indices in tqdm(self._batches(generator), total=steps, desc=what, leave=False, disable=None):
            with torch.enable_grad():
                error = (network(*inputs(indices)) - self.values[indices]).square() / self.scale * self.shown[indices]
                loss = error.sum() / len(indices)
                network.zero_grad()
                loss.backward()
            for optimiser, schedule in zip(optimisers, schedules, strict=True):
                optimiser.step()
                schedule.step()
        network.eval()

    def _batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        for _ in range(self.epochs):
            order = torch.randperm(len(self.shapes), generator=generator)
            yield from (indices for indices in order.split(BATCH) if len(indices) == BATCH)

    def _split(self, outputs: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.factors, outputs.split(self.widths, 1), strict=True))


class ImageReader(nn.Module):
    """Network from images N x 3 x S x S in [0, 1] and one-hot classes N x C to N x `outputs`."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, side in ((3, 32, 5), (32, 64, 3), (64, 128, 3)):
            layers += [nn.Conv2d(before, after, side, 2, side // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.maps = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128 * 16, HIDDEN))
        self.norm = nn.BatchNorm1d(HIDDEN)
        self.head = nn.Sequential(nn.Linear(HIDDEN + len(SHAPES), HIDDEN), nn.GELU(), nn.Linear(HIDDEN, outputs))

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        return self.head(torch.cat([F.relu(self.norm(self.maps(images * 2 - 1))), classes], 1))


@dataclass(frozen=True)
class Reading:
    """Predicted and true values of a factor, where it is visible.

    Attributes:
        read, true: predicted and true values, n x D, less the class's mean; predictions are calibrated.
        offset: means of the class, n x D.
        classes: true classes of binary and categorical factors.
    """

    read: Tensor
    true: Tensor
    offset: Tensor
    classes: Tensor | None

    @staticmethod
    def of(raw: Tensor, target: Target, offset: Tensor, seed: int) -> Reading:
        """Return the calibrated predictions `raw` of a reader, N x D.

        A reader that was fitted on other images may be off in scale and offset: one slope per factor, and an offset per
        dimension, are fitted on one half of the images for the other, and vice versa.
        """
        visible = target.shows.nonzero()[:, 0]
        read, offset = (raw[visible] - offset[visible]).double(), offset[visible].double()
        true = target.values[visible].double() - offset
        order = torch.randperm(len(visible), generator=torch.Generator().manual_seed(seed))
        halves = order[: len(visible) // 2], order[len(visible) // 2 :]
        brought = torch.empty_like(read)
        for used, fitted in (halves, halves[::-1]):
            x, y = read[fitted], true[fitted]
            mean_x, mean_y = x.mean(0), y.mean(0)
            spread = (x - mean_x).square().sum().clamp(min=1e-12)
            grad = ((x - mean_x) * (y - mean_y)).sum() / spread
            brought[used] = mean_y + grad * (read[used] - mean_x)
        classes = None if target.classes is None else target.classes[visible]
        return Reading(brought, true, offset, classes)

    def __len__(self) -> int:
        return len(self.true)

    def shares(self, weights: Tensor) -> Tensor:
        """Return the share of the variance within classes that is read, R, for R weightings of the images, R x n.

        1 for all, 0 for no more than the class alone predicts, below 0 for a reader that is worse than that. Circular
        factors count as points on the circle.
        """
        left, whole = (self.true - self.read).square().sum(1), self.true.square().sum(1)
        return 1 - (weights @ left) / (weights @ whole).clamp(min=1e-12)

    def explained(self, seed: int) -> Estimate:
        """Return that share with its bootstrap interval over images."""
        return weighted_bootstrap(self.shares, len(self), seed)

    def explained_more(self, other: Reading, seed: int) -> Difference:
        """Test the difference of that share to the one of another reading of the same images."""
        return statistic_test(lambda w: self.shares(w) - other.shares(w), len(self), seed)

    def accuracy(self, seed: int) -> Estimate | None:
        """Return the balanced accuracy of the predicted class; None for factors that are not categorical."""
        if self.classes is None:
            return None
        read = self.offset + self.read
        guess = (read[:, 0] > 0).long() if read.shape[1] == 1 else read.argmax(1)
        right = (guess == self.classes).double()
        members = F.one_hot(self.classes).double()

        def statistic(weights: Tensor) -> Tensor:
            mass = weights @ members
            recalls = (weights * right) @ members / mass.clamp(min=1e-12)
            return recalls.sum(1) / (mass > 0).sum(1)

        return weighted_bootstrap(statistic, len(right), seed)


def class_share(target: Target, offset: Tensor, seed: int) -> Estimate:
    """Return the share of a factor's whole variance that the mean of its class explains."""
    visible = target.shows.nonzero()[:, 0]
    values = target.values[visible].double()
    left = (values - offset[visible]).square().sum(1)
    whole = (values - values.mean(0)).square().sum(1)
    return weighted_bootstrap(lambda w: 1 - (w @ left) / (w @ whole).clamp(min=1e-12), len(left), seed)
