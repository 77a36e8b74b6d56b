"""What every classifier is: a frozen network together with its own preprocessing, names and layers."""

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
from unlogit.errors import UnlogitError
from unlogit.identity import module_identity, tensor_bytes
from unlogit.images import check_pixels

Interpolation = Literal["bicubic", "bilinear"]

TRIAL_SIZE = 64
"""Side in pixels of the images that a network without a size of its own is tried with."""

ROUNDING = 1e-5
"""Largest difference of two values, as a share of the largest, that is put down to rounding in float32."""

FUSED_TOLERANCE = 1e-3
"""Largest difference that fusing may make, in standard deviations over images: 100 times what rounding makes."""


@dataclass(frozen=True)
class Preprocessing:
    """From pixels in [0, 1] to what the network was trained on.

    Attributes:
        size: side in pixels that images are resized to, antialiased where they shrink; None leaves them as they are.
            The side of what the network sees in the end: there is no crop, since views are square already.
        mean, std: per-channel normalisation in the [0, 1] scale.
        interpolation: how they are resized.
    """

    size: int | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bicubic"

    @staticmethod
    def resampling(name: str) -> Interpolation:
        """The closest way of resizing that there is to a library's."""
        return "bilinear" if name == "bilinear" else "bicubic"


class Classifier(nn.Module):
    """A frozen classifier over pixels in [0, 1], N x 3 x H x W of any size.

    Resizing and normalisation happen inside, differentiably, so that attacks, discriminators and
    reconstructions share one pixel space. Parameters never receive gradients; pixels may.

    Attributes:
        spec: the `source:name` that opens the same classifier again.
        class_names: one readable name a logit.
        penultimate: name of the module whose *input* is the penultimate representation (the last linear layer).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, class_names: Sequence[str], penultimate: str, spec: str
    ) -> None:
        super().__init__()
        # In float32 whatever the checkpoint's precision, since that is what pixels are.
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
        """Stays in evaluation mode: a frozen classifier's batch statistics are part of what it is."""
        return super().train(False)

    def prepare(self, pixels: Tensor) -> Tensor:
        """The network's own input from pixels in [0, 1]."""
        check_pixels(pixels, "classifier input")
        size = self.preprocessing.size
        if size is not None and pixels.shape[-2:] != (size, size):
            shrinks = size < min(pixels.shape[-2:])
            mode = self.preprocessing.interpolation
            pixels = F.interpolate(pixels, (size, size), mode=mode, antialias=shrinks, align_corners=False)
        return (pixels - self.mean) / self.std

    def grey(self, count: int) -> Tensor:
        """Images to try the network with, of its own size."""
        size = self.preprocessing.size or TRIAL_SIZE
        return torch.full((count, 3, size, size), 0.5, device=self.mean.device)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits, N x K."""
        return self.network(self.prepare(pixels))

    def features(self, pixels: Tensor, modules: Sequence[str]) -> dict[str, Tensor]:
        """Outputs of the named modules in one pass, plus "logits"; "penultimate" is the last linear layer's input.

        Raises `UnlogitError` that lists the modules where a name is not known.
        """
        known = dict(self.network.named_modules())
        found: dict[str, Tensor] = {}
        with contextlib.ExitStack() as hooks:
            for name in modules:
                if name == "logits":
                    continue
                if name == "penultimate":
                    hook = known[self.penultimate].register_forward_pre_hook(
                        lambda _module, args: found.__setitem__("penultimate", args[0])
                    )
                elif name in known:
                    hook = known[name].register_forward_hook(partial(_keep, found, name))
                else:
                    raise self._unknown(name)
                hooks.enter_context(hook)
            found["logits"] = self.forward(pixels)
        unused = next((name for name in modules if name not in found), None)
        if unused is not None:
            raise UnlogitError(f"layer '{unused}' of {self.spec} is not run when it classifies: choose another")
        return found

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
    """Return whether values, N x ..., are others than expected; True where either is not finite.

    Args:
        values: of N images.
        expected: the same.
        tolerance: allowed difference in mean standard deviations over the images.
        rounding: further allowed difference, as a share of the largest value.
    """
    if values.shape != expected.shape:
        return True
    values, expected = values.double(), expected.double()
    allowed = tolerance * expected.std(0).mean() + rounding * expected.abs().max()
    return not bool(((values - expected).abs() <= allowed).all())


def _keep(found: dict[str, Tensor], name: str, _module: nn.Module, _args: object, output: object) -> None:
    """A forward hook that keeps a copy of the output: what comes next may well work in place."""
    if not isinstance(output, Tensor):
        raise UnlogitError(f"layer '{name}' gives a {type(output).__name__}, not a tensor: choose a module inside it")
    found[name] = output.clone()
