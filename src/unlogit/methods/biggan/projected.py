"""A discriminator on a frozen network's features: Projected GANs (Sauer et al. 2021) with the paper's projection.

Departs from Sauer et al. in that every head is also conditioned, on the representation, by the inner product of the
paper's equation 2, and that heads have no batch-norm: real and fake images share one batch in the D step but not in
the G step, which would amount to two different discriminators.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.classifiers import Classifier, open_classifier
from unlogit.errors import UnlogitError
from unlogit.methods.biggan.config import DiscriminatorConfig
from unlogit.methods.biggan.layers import build, linear

PROJECTION_GAIN = 3.0
"""Gain of the projection, tuned on the ten logits of scenes."""
DETAIL_GAIN = 8.0


class Head(nn.Module):
    """Score one feature map at every position: two 3x3 convolutions to vectors Psi, then (w1 + W2 z) . Psi.

    A standardised representation has a norm near sqrt(K). The projection is divided by that and by sqrt(width), since
    spectrally normalised weights cannot shrink it: with a thousand logits it would exceed the hinge's margin.
    """

    def __init__(self, channels: int, side: int, representation: int, *, spectral_norm: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if side > 1:
            for stride in (2 if side > 16 else 1, 1):
                layers += [build(nn.Conv2d(channels, channels, 3, stride, 1), spectral_norm), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.unconditional = linear(channels, 1, spectral_norm=spectral_norm)
        self.projection = linear(representation, channels, spectral_norm=spectral_norm, bias=False)
        self.scale = PROJECTION_GAIN * (channels * representation) ** -0.5

    def forward(self, features: Tensor, representation: Tensor) -> Tensor:
        """Return scores, N x (H W) or N x 1, of features N x C x H x W or N x C."""
        psi = self.layers(features).flatten(2) if features.ndim == 4 else features.unsqueeze(2)
        projected = torch.einsum("nc,ncl->nl", self.projection(representation), psi)
        return self.unconditional(psi.transpose(1, 2)).squeeze(2) + self.scale * projected


class PixelBranch(nn.Module):
    """Two trained convolutions on the pixels, then a `Head`; R1 regularises it instead of spectral norm.

    Three more channels hold the amplified residual of a binomial 5x5 blur, which contains lattices and speckle. With
    them the branch learns to detect these in half as many steps (docs/lab-notes.md).
    """

    blur: Tensor

    def __init__(self, channels: int, size: int, representation: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        self.register_buffer("blur", (line[:, None] * line).expand(3, 1, 5, 5), persistent=False)
        self.stem = nn.Sequential(
            build(nn.Conv2d(6, channels, 3, 1, 1), False),
            nn.LeakyReLU(0.2),
            build(nn.Conv2d(channels, 2 * channels, 4, 2, 1), False),
            nn.LeakyReLU(0.2),
        )
        self.head = Head(2 * channels, size // 2, representation, spectral_norm=False)

    def forward(self, pixels: Tensor, representation: Tensor) -> Tensor:
        """Return scores, N x positions, of pixels N x 3 x S x S in [0, 1]."""
        pixels = 2 * pixels - 1
        detail = pixels - F.conv2d(F.pad(pixels, (2, 2, 2, 2), mode="reflect"), self.blur, groups=3)
        scores: Tensor = self.head(self.stem(torch.cat([pixels, DETAIL_GAIN * detail], 1)), representation)
        return scores


class ProjectedDiscriminator(nn.Module):
    """Heads on fixed random mixes of the pixels and of the feature maps of a frozen network.

    Each map is standardised channel by channel with constants estimated once (`calibrate`): a norm per image would
    remove its brightness and contrast. Spatial maps are then mixed over channels by fixed random 1x1
    convolutions and over scales by a fixed random top-down pass of 3x3 convolutions. A vector ("penultimate") is
    only standardised: its head is the linear discriminator in the space from which the classifier reads its logits.

    Args:
        representation: length K of the representation.
        size: side of the images in pixels.
        seed: random seed of the fixed random mixes.

    Attributes:
        weights: weights of the scores' losses, in the order of the scores.

    Raises:
        UnlogitError: a map is unknown, or the numbers of widths and spatial maps differ.
    """

    def __init__(self, representation: int, size: int, config: DiscriminatorConfig, seed: int = 0) -> None:
        super().__init__()
        # Not a submodule: the frozen network's weights are not part of what is trained or saved.
        self._network: list[Classifier] = [open_classifier(config.network).fused(config.maps)]
        self.maps = config.maps
        with torch.no_grad():
            inputs = self._map_inputs(torch.zeros(1, 3, size, size))
        spatial = [f for f in inputs if f.ndim == 4]
        vectors = [f for f in inputs if f.ndim == 2]
        if len(spatial) != len(config.widths) or len(spatial) + len(vectors) != len(inputs):
            raise UnlogitError(
                f"projected discriminator: {len(spatial)} spatial maps among {', '.join(self.maps)}, "
                f"but {len(config.widths)} widths: give one width per spatial map"
            )
        for i, features in enumerate(inputs):
            self.register_buffer(f"shift{i}", torch.zeros(features.shape[1]))
            self.register_buffer(f"scale{i}", torch.ones(features.shape[1]))
        generator = torch.Generator().manual_seed(seed)
        widths = config.widths
        self.mixes, self.downs = nn.ParameterList(), nn.ParameterList()
        for i, (features, width) in enumerate(zip(spatial, widths, strict=True)):
            self.mixes.append(_fixed(width, features.shape[1], 1, generator))
            if i + 1 < len(widths):
                self.downs.append(_fixed(width, widths[i + 1], 3, generator))
        shapes = [(width, features.shape[-1]) for features, width in zip(spatial, widths, strict=True)]
        shapes += [(vector.shape[1], 1) for vector in vectors]
        self.heads = nn.ModuleList(
            Head(channels, side, representation, spectral_norm=config.head_spectral_norm) for channels, side in shapes
        )
        self.second: ProjectedDiscriminator | None = None
        if config.second_network is not None:
            alone = replace(config, network=config.second_network, second_network=None, pixel_channels=0)
            self.second = ProjectedDiscriminator(representation, size, alone, seed)
        count = len(self.heads) * (1 if self.second is None else 2)
        self.weights = [1 / count] * count
        self.pixels: PixelBranch | None = None
        if config.pixel_channels:
            self.pixels = PixelBranch(config.pixel_channels, size, representation)
            self.weights.append(config.pixel_weight)

    @property
    def network(self) -> Classifier:
        """The first frozen network."""
        return self._network[0]

    @property
    def networks(self) -> list[Classifier]:
        """The frozen networks."""
        return [*self._network, *([] if self.second is None else self.second.networks)]

    def _map_inputs(self, pixels: Tensor) -> list[Tensor]:
        features = self.network.features(pixels, [m for m in self.maps if m != "pixels"])
        features["pixels"] = pixels
        return [features[m] for m in self.maps]

    @torch.no_grad()
    def calibrate(self, pixels: Tensor) -> None:
        """Estimate the maps' standardisation on real images, N x 3 x S x S in [0, 1]."""
        for i, features in enumerate(self._map_inputs(pixels)):
            deviation, mean = torch.std_mean(features, [d for d in range(features.ndim) if d != 1])
            getattr(self, f"shift{i}").copy_(mean)
            getattr(self, f"scale{i}").copy_(deviation.clamp(min=1e-2 * float(deviation.mean())))
        if self.second is not None:
            self.second.calibrate(pixels)

    def extract_features(self, pixels: Tensor) -> list[Tensor]:
        """Return the inputs of the trained heads, one tensor per head.

        Mixed feature maps from fine to coarse, then vectors, then those of the second network, then the pixels.
        """
        # Standardising a map and mixing its channels is one convolution.
        mixed: list[Tensor] = []
        vectors: list[Tensor] = []
        for i, features in enumerate(self._map_inputs(pixels)):
            shift, scale = getattr(self, f"shift{i}"), getattr(self, f"scale{i}")
            if features.ndim == 4:
                mix = self.mixes[len(mixed)] / scale.view(1, -1, 1, 1)
                mixed.append(F.conv2d(features, mix, -mix.flatten(1) @ shift))
            else:
                vectors.append((features - shift) / scale)
        for i in reversed(range(len(self.downs))):
            coarser = F.conv2d(mixed[i + 1], self.downs[i], padding=1)
            up = F.interpolate(coarser, mixed[i].shape[-2:], mode="bilinear", align_corners=False)
            mixed[i] = (mixed[i] + up) * 0.5**0.5
        others = [] if self.second is None else self.second.extract_features(pixels)
        return mixed + vectors + others + ([pixels] if self.pixels is not None else [])

    def score(self, features: list[Tensor], representation: Tensor) -> list[Tensor]:
        """Return the scores of the output of `extract_features`: one tensor, N x positions, per head."""
        heads = [*self.heads, *([] if self.second is None else self.second.heads)]
        heads += [self.pixels] if self.pixels is not None else []
        return [head(feature, representation) for head, feature in zip(heads, features, strict=True)]

    def forward(self, pixels: Tensor, representation: Tensor) -> list[Tensor]:
        """Return scores, N x positions, of every head, of pixels N x 3 x S x S in [0, 1], representations N x K."""
        return self.score(self.extract_features(pixels), representation)

    def _apply(self, fn, recurse: bool = True):  # type: ignore[no-untyped-def]
        self.network._apply(fn)
        return super()._apply(fn, recurse)


def _fixed(outputs: int, inputs: int, kernel: int, generator: torch.Generator) -> nn.Parameter:
    weight = torch.randn(outputs, inputs, kernel, kernel, generator=generator) / (inputs * kernel**2) ** 0.5
    return nn.Parameter(weight, requires_grad=False)
