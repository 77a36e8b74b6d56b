"""The class of all classifiers: a frozen network with its preprocessing, class names and layers."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.classifiers._fusing import fuse, restore, spare_slow_gradients
from unlogit.classifiers._resizing import resized
from unlogit.errors import UnlogitError
from unlogit.identity import module_identity, tensor_bytes
from unlogit.images import check_pixels

Interpolation = Literal["bicubic", "bilinear"]

TRIAL_SIZE = 64
"""Side in pixels of the trial images for a network without an input size."""

ROUNDING = 1e-5
"""Largest difference of two values, as a share of the largest, that counts as float32 rounding."""

FUSED_TOLERANCE = 1e-3
"""Largest difference by fusing, in standard deviations over images: 100 times that by rounding."""


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing from pixels in [0, 1] to the network's input.

    Attributes:
        size: side in pixels that images are resized to, antialiased where they shrink; None leaves them as they are.
            This is the side of the network's input: there is no crop, since views are square.
        mean, std: per-channel normalisation in the [0, 1] scale.
        interpolation: interpolation of the resizing.
    """

    size: int | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bicubic"

    @staticmethod
    def resampling(name: str) -> Interpolation:
        """Return the supported interpolation that is closest to a library's."""
        return "bilinear" if name == "bilinear" else "bicubic"


class Classifier(nn.Module):
    """A frozen classifier over pixels in [0, 1], N x 3 x H x W of any size.

    Resizing and normalisation happen inside, differentiably, so that attacks, discriminators and
    reconstructions share one pixel space. Parameters never receive gradients; pixels may.

    Attributes:
        spec: the `source:name` that opens the same classifier again.
        class_names: one readable name per logit.
        penultimate: name of the module whose *input* is the penultimate representation (the last linear layer).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, class_names: Sequence[str], penultimate: str, spec: str
    ) -> None:
        super().__init__()
        # In float32 like the pixels, whatever the precision of the checkpoint.
        self.network = network.eval().requires_grad_(False).float()
        self.preprocessing = preprocessing
        self.class_names = tuple(class_names)
        self.penultimate = penultimate
        self.spec = spec
        self._digest: str | None = None
        self._weights_digest: str | None = None
        if penultimate not in (modules := dict(network.named_modules())):
            close = ", ".join(difflib.get_close_matches(penultimate, modules, n=3)) or "one of network.named_modules()"
            raise UnlogitError(f"penultimate '{penultimate}': must be the name of a module; did you mean {close}?")
        device = next(network.parameters(), torch.zeros(())).device
        for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
            self.register_buffer(name, torch.tensor(values, device=device).view(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> Classifier:
        """Stay in evaluation mode, since a frozen classifier uses fixed batch statistics."""
        return super().train(False)

    def prepare(self, pixels: Tensor) -> Tensor:
        """Return the network's input from pixels in [0, 1]."""
        check_pixels(pixels, "classifier input")
        size = self.preprocessing.size
        if size is not None and pixels.shape[-2:] != (size, size):
            pixels = resized(pixels, size, self.preprocessing.interpolation)
        return (pixels - self.mean) / self.std

    def grey(self, count: int) -> Tensor:
        """Return grey trial images of the network's input size."""
        size = self.preprocessing.size or TRIAL_SIZE
        return torch.full((count, 3, size, size), 0.5, device=self.mean.device)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits, N x K."""
        return self.network(self.prepare(pixels))

    def features(self, pixels: Tensor, modules: Sequence[str]) -> dict[str, Tensor]:
        """Return outputs of modules by name in one pass, plus "logits"; "penultimate" is the input of the last linear.

        Raises `UnlogitError` with suggestions where a name is unknown.
        """
        network_modules = dict(self.network.named_modules())
        outputs: dict[str, Tensor] = {}
        with contextlib.ExitStack() as hooks:
            for name in modules:
                if name == "logits":
                    continue
                if name == "penultimate":
                    hook = network_modules[self.penultimate].register_forward_pre_hook(
                        lambda _module, args: outputs.__setitem__("penultimate", args[0])
                    )
                elif name in network_modules:
                    hook = network_modules[name].register_forward_hook(partial(_keep, outputs, name))
                else:
                    raise self._unknown(name)
                hooks.enter_context(hook)
            outputs["logits"] = self.forward(pixels)
        unused = next((name for name in modules if name not in outputs), None)
        if unused is not None:
            raise UnlogitError(f"layer '{unused}' of {self.spec} is not run when it classifies: choose another")
        return outputs

    def _unknown(self, name: str) -> UnlogitError:
        # A network has hundreds of modules: too many for a line.
        every = [module for module, _ in self.network.named_modules() if module]
        close = difflib.get_close_matches(name, every, n=3)
        top = (module for module, _ in self.network.named_children())
        hint = f"did you mean {', '.join(close)}?" if close else f"it has {', '.join(top)} and what is in them"
        return UnlogitError(f"unknown layer '{name}' of {self.spec}: must be logits, penultimate or a module; {hint}")

    def fused(self, kept: Sequence[str] = ()) -> Classifier:
        """Make this classifier faster from now on, and return it: batch norms folded into convolutions, channels last,
        no slow kernels.

        Returns the same within rounding, which is checked on random images: a network that would not stays as it is.
        The fingerprint stays, and the result is not to be saved. What a convolution itself returns is no longer there
        as a layer, but for those in `kept`.
        """
        self._digest, self._weights_digest = self.fingerprint(), self.weights_fingerprint()
        layers = [name for name in kept if name in dict(self.network.named_modules())]
        images = random_images(2, self.preprocessing.size or TRIAL_SIZE).to(self.mean.device)
        with torch.no_grad():
            plain = self.features(images, layers)
        replaced = fuse(self.network, self.prepare(images[:1]), kept)
        replaced += spare_slow_gradients(self.network)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        same = False
        # A forward that reads its modules' weights itself may fail where one was replaced.
        with contextlib.suppress(Exception), torch.no_grad():
            fused = self.features(images, layers)
            same = not any(differ(fused[name], plain[name], FUSED_TOLERANCE) for name in plain)
        if not same:
            restore(self.network, replaced)
            self.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return self

    def fingerprint(self) -> str:
        """Return a digest of what decides the output but for the libraries' versions: weights, structure, settings and
        code of the network, and its preprocessing; part of every cache's key.
        """
        if self._digest is not None:
            return self._digest
        description = f"{self.preprocessing!r} {self.penultimate} {module_identity(self.network)}"
        return hashlib.sha256(description.encode()).hexdigest()[:16]

    def weights_fingerprint(self) -> str:
        """Return a digest of the weights alone, the same at any input size."""
        if self._weights_digest is not None:
            return self._weights_digest
        digest = hashlib.sha256()
        for name, value in sorted(self.network.state_dict().items()):
            digest.update(name.encode() + tensor_bytes(value))
        return digest.hexdigest()[:16]


def random_images(count: int, size: int) -> Tensor:
    """Return the same random images each time, N x 3 x S x S in [0, 1]: blobs under fine noise, unlike in brightness,
    contrast and colour.
    """
    generator = torch.Generator().manual_seed(0)
    blobs = F.interpolate(torch.rand(count, 3, 4, 4, generator=generator), (size, size), mode="bilinear")
    fine = torch.rand(count, 3, size, size, generator=generator)
    contrast = torch.linspace(1, 0.4, count).view(-1, 1, 1, 1)
    return (0.7 * blobs + 0.3 * fine) * contrast


def differ(values: Tensor, expected: Tensor, tolerance: float, rounding: float = ROUNDING) -> bool:
    """Return whether values, N x ..., differ from the expected ones; True where either is not finite.

    Args:
        values: values of N images.
        expected: values of the same shape.
        tolerance: allowed difference in mean standard deviations over the images.
        rounding: further allowed difference, as a share of the largest value.
    """
    if values.shape != expected.shape:
        return True
    values, expected = values.double(), expected.double()
    allowed = tolerance * expected.std(0).mean() + rounding * expected.abs().max()
    return not bool(((values - expected).abs() <= allowed).all())


def _keep(outputs: dict[str, Tensor], name: str, _module: nn.Module, _args: object, output: object) -> None:
    """Keep a copy of the output (a forward hook), since the next layer may work in place."""
    if not isinstance(output, Tensor):
        raise UnlogitError(f"layer '{name}' gives a {type(output).__name__}, not a tensor: choose a module inside it")
    outputs[name] = output.clone()
