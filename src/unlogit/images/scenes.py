"""`scenes:`: rendered images of ten shapes, whose factors of variation are all known.

`scenes:` is the training split, `scenes:val` is for choosing settings and `scenes:test` for reporting, with options as
in `scenes:test?size=64&count=2000&seed=1`. A scene is a function of (seed, split, index) alone: its factors come from a
counter-based hash and it is drawn from signed distance functions, so any size shows the same scene.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from unlogit import specs
from unlogit.errors import BrokenImage, unknown
from unlogit.images._base import ImageSource, to_bytes
from unlogit.images._shapes import SHAPES
from unlogit.outside import plain
from unlogit.settings import Bounds, Checked

TEXTURES = ("plain", "stripes", "checks", "dots")
SPLITS = {"train": 50_000, "test": 10_000, "val": 10_000}
"""The splits and how many scenes each has unless `count` says otherwise. A split's position decides its scenes."""


@dataclass(frozen=True)
class Factor:
    """One thing that varies between scenes, independently of all others given the shape.

    Attributes:
        kind: "continuous" in [low, high); "circular" in turns, [0, 1); "binary"; or "categorical".
        names: the categories' names, by value.
        only: the binary factor without which this one does not show.
        habit: None for a uniform distribution, whatever the shape. Else the factor is drawn around a centre of the
            shape's own, as things have their usual colours and places: "circular" from a wrapped normal, its
            standard deviation in turns; "continuous" from a normal cut off at low and high, its standard deviation in
            the factor's unit. Every value is possible for every shape.
        stride: which shape has which centre: shape k the place (stride k mod 10) / 10 of the circle. Position is the
            point at that angle, `HABITUAL_RADIUS` from the middle.
    """

    kind: Literal["continuous", "circular", "binary", "categorical"]
    low: float = 0.0
    high: float = 1.0
    names: tuple[str, ...] = ()
    only: str | None = None
    habit: float | None = None
    stride: int = 1


# Lengths are in units of the image's side; x points right and y up from its middle.
# How hard the scenes are lies in these ranges: the hard ones are partly outside the image or behind a distractor,
# small, or close to the background in colour.
FACTORS: dict[str, Factor] = {
    "x": Factor("continuous", -0.33, 0.33, habit=0.16, stride=7),
    "y": Factor("continuous", -0.33, 0.33, habit=0.16, stride=7),
    "scale": Factor("continuous", 0.20, 0.42),  # the radius of the disc around the shape
    "rotation": Factor("circular"),  # counterclockwise
    "mirror": Factor("binary"),  # shows on the chiral shapes alone
    "hue": Factor("circular", habit=0.2, stride=1),  # hues are angles in OKLCH
    "background_hue": Factor("circular", habit=0.2, stride=3),
    "gradient_direction": Factor("circular"),  # where the background is lightest
    "texture": Factor("categorical", names=TEXTURES),
    "brightness": Factor("continuous", 0.52, 0.78),  # mean of the object's and the background's OKLCH lightness
    "contrast": Factor("continuous", -0.35, 0.35),  # the object's lightness less the background's
    "distractor": Factor("binary"),
    "distractor_shape": Factor("categorical", names=tuple(s.name for s in SHAPES), only="distractor"),
    "distractor_scale": Factor("continuous", 0.11, 0.27, only="distractor"),
    "distractor_x": Factor("continuous", -0.38, 0.38, only="distractor"),
    "distractor_y": Factor("continuous", -0.38, 0.38, only="distractor"),
    "distractor_hue": Factor("circular", only="distractor"),
}

HABITUAL_RADIUS = 0.17
OBJECT_CHROMA, BACKGROUND_CHROMA = 0.18, 0.11
GRADIENT, GRADIENT_HUE = 0.10, 0.05  # the background's lightness and hue vary by these to either side
SHADOW, SHADOW_WIDTH = 0.25, 0.04  # how dark the background is at the object's outline, and how soon that fades
SHADING = 0.14  # how much the object's brightness varies across its radius
TEXTURE_STEP = 0.20  # the lightness between a texture's two tones
TEXTURE_PERIOD = 0.18  # of stripes, checks and dots

_SLOTS = ("shape", *FACTORS)  # each has its own stream of chance, by its place here
_CHUNK = 1 << 18  # pixels rendered at a time


class SceneImages(ImageSource):
    """Scenes 0 ... count - 1 of one split and seed."""

    def __init__(
        self, spec: str, split: str = "train", size: int = 32, count: int | None = None, seed: int = 0
    ) -> None:
        self.spec = spec
        self.split = split
        self.size = size
        self.seed = seed
        self.count = SPLITS[split] if count is None else count
        self.class_names = tuple(shape.name for shape in SHAPES)
        self._labels = (self._uniform(torch.arange(self.count), "shape") * len(SHAPES)).long()

    def __len__(self) -> int:
        return self.count

    @property
    def labels(self) -> Tensor:
        """int64, shape (N,): the shapes' places in `class_names`."""
        return self._labels

    def factors(self, indices: Sequence[int] | Tensor) -> dict[str, Tensor]:
        """The value of every one of `FACTORS` for these scenes, shape (n,): float32, int64 or bool by its kind."""
        positions = torch.as_tensor(indices, dtype=torch.int64)
        values = {}
        for name, factor in FACTORS.items():
            uniform = self._uniform(positions, name)
            match factor.kind:
                case "binary":
                    values[name] = uniform < 0.5
                case "categorical":
                    values[name] = (uniform * len(factor.names)).long()
                case _ if factor.habit is not None:
                    values[name] = _around(uniform, name, factor, self.labels[positions])
                case _:
                    values[name] = (factor.low + uniform * (factor.high - factor.low)).float()
        return values

    def decode(self, index: int) -> Tensor:
        return self.render([index])[0]

    def read(self, indices: Sequence[int]) -> list[Tensor | BrokenImage]:
        return list(self.render(indices))

    def render(self, indices: Sequence[int] | Tensor) -> Tensor:
        """These scenes as uint8, n x 3 x size x size."""
        positions = torch.as_tensor(indices, dtype=torch.int64)
        chunk = max(1, _CHUNK // self.size**2)
        parts = [render(self.labels[p], self.factors(p), self.size) for p in torch.split(positions, chunk)]
        return torch.cat([to_bytes(part) for part in parts])

    def fingerprint(self) -> str:
        """Return a fingerprint of some rendered scenes, so that a change of the renderer shows."""
        probe = self.render(range(min(len(self), 16))).numpy().tobytes()
        return f"{self.spec}#{len(self)}#{hashlib.sha256(probe).hexdigest()[:16]}"

    def _uniform(self, indices: Tensor, slot: str) -> Tensor:
        """float64 in [0, 1), shape (n,): a hash of (seed, split, slot, index)."""
        mixed = np.zeros(len(indices), np.uint64)
        for part in (self.seed, list(SPLITS).index(self.split), _SLOTS.index(slot), indices.numpy()):
            mixed = _mix(mixed + np.asarray(part, np.uint64))
        return torch.from_numpy((mixed >> np.uint64(11)) * 2.0**-53)


def habitual(name: str, shape: int) -> float:
    """The centre of a factor's values for a shape (see `Factor.habit`)."""
    factor = FACTORS[name]
    turn = factor.stride * shape % len(SHAPES) / len(SHAPES)
    if factor.kind == "circular":
        return turn
    angle = 2 * math.pi * turn
    return HABITUAL_RADIUS * (math.cos(angle) if name == "x" else math.sin(angle))


def _around(uniform: Tensor, name: str, factor: Factor, shapes: Tensor) -> Tensor:
    """Draws around each shape's centre from draws in [0, 1), float32."""
    assert factor.habit is not None
    # By tables, a row a shape: a vectorised cosine may differ in the last bit with the length of the batch.
    centres = [habitual(name, shape) for shape in range(len(SHAPES))]
    centre = torch.tensor(centres, dtype=torch.double)[shapes]
    if factor.kind == "circular":
        # Not quite 0: its quantile is infinite.
        return ((centre + factor.habit * torch.special.ndtri(uniform.clamp(min=1e-9))) % 1).float()
    normals = [NormalDist(c, factor.habit) for c in centres]
    low = torch.tensor([n.cdf(factor.low) for n in normals], dtype=torch.double)[shapes]
    high = torch.tensor([n.cdf(factor.high) for n in normals], dtype=torch.double)[shapes]
    drawn = centre + factor.habit * torch.special.ndtri(low + uniform * (high - low))
    return drawn.clamp(factor.low, factor.high).float()


def _mix(values: np.ndarray) -> np.ndarray:
    """One step of SplitMix64 (Steele, Lea and Flood 2014) from each state, an array of uint64, which wraps."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def render(shapes: Tensor, factors: dict[str, Tensor], size: int) -> Tensor:
    """Scenes from shapes (int64, (n,)) and a value for each of `FACTORS`: float in [0, 1], n x 3 x size x size."""
    f = {name: value.view(-1, 1, 1) for name, value in factors.items()}
    steps = (torch.arange(size) + 0.5) / size - 0.5
    y, x = torch.meshgrid(-steps, steps, indexing="ij")
    image = _background(f, x, y)
    image = _with_object(image, shapes, f, x, y)
    chosen = factors["distractor"].nonzero()[:, 0]
    if len(chosen):
        image[chosen] = _with_distractor(image[chosen], {name: value[chosen] for name, value in f.items()}, x, y)
    return image.clamp_(0, 1)


def _background(f: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    lightness = f["brightness"] - f["contrast"] / 2
    dark = oklch(lightness - GRADIENT, BACKGROUND_CHROMA, f["background_hue"] - GRADIENT_HUE)
    light = oklch(lightness + GRADIENT, BACKGROUND_CHROMA, f["background_hue"] + GRADIENT_HUE)
    along = x * _cos(f["gradient_direction"]) + y * _sin(f["gradient_direction"])
    return torch.lerp(dark, light, (0.5 + along / 1.2).clamp_(0, 1)[:, None])


def _with_object(image: Tensor, shapes: Tensor, f: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    size = image.shape[-1]
    dx, dy = x - f["x"], y - f["y"]
    cos, sin = _cos(f["rotation"]), _sin(f["rotation"])
    u, v = dx * cos + dy * sin, dy * cos - dx * sin
    u = torch.where(f["mirror"], -u, u)
    distance = _distance(shapes, u / f["scale"], v / f["scale"]) * f["scale"]
    shadow = SHADOW * torch.exp(distance.clamp(min=0) / -SHADOW_WIDTH)
    lightness = f["brightness"] + f["contrast"] / 2
    ground = oklch(lightness + TEXTURE_STEP / 4, OBJECT_CHROMA, f["hue"])
    marks = oklch(lightness - TEXTURE_STEP * 3 / 4, OBJECT_CHROMA, f["hue"])
    surface = torch.lerp(ground, marks, _texture(f["texture"], u, v, size)[:, None])
    shading = 1 + SHADING * ((dy - dx) / f["scale"]).clamp_(-1.4, 1.4)  # lit from the upper left
    return torch.lerp(image * (1 - shadow)[:, None], surface * shading[:, None], _cover(distance, size)[:, None])


def _with_distractor(image: Tensor, f: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """It lies in front of the object, upright and in one colour."""
    scale = f["distractor_scale"]
    u, v = (x - f["distractor_x"]) / scale, (y - f["distractor_y"]) / scale
    distance = _distance(f["distractor_shape"].flatten(), u, v) * scale
    colour = oklch(f["brightness"] + 0.1, OBJECT_CHROMA, f["distractor_hue"])
    return torch.lerp(image, colour, _cover(distance, image.shape[-1])[:, None])


def oklch(lightness: Tensor, chroma: float, hue: Tensor) -> Tensor:
    """sRGB in [0, 1] of OKLCH colours (Ottosson 2020), n x 1 x 1 each and the hue in turns: n x 3 x 1 x 1."""
    lightness, hue = lightness.double(), hue.double()
    a, b = chroma * _cos(hue), chroma * _sin(hue)
    l3 = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    m3 = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    s3 = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * l3 - 3.3077115913 * m3 + 0.2309699292 * s3
    green = -1.2684380046 * l3 + 2.6097574011 * m3 - 0.3413193965 * s3
    blue = -0.0041960863 * l3 - 0.7034186147 * m3 + 1.7076147010 * s3
    linear = torch.stack([red, green, blue], 1).clamp(0, 1)
    encoded = torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-9) ** (1 / 2.4) - 0.055)
    return encoded.float()


def _sin(turns: Tensor) -> Tensor:
    # In float64 and rounded: in float32 the last bit depends on the place in a vector register, so on the batch.
    return torch.sin(2 * math.pi * turns.double()).to(turns.dtype)


def _cos(turns: Tensor) -> Tensor:
    return torch.cos(2 * math.pi * turns.double()).to(turns.dtype)


def _cover(distance: Tensor, size: int) -> Tensor:
    """How much of each pixel lies inside: the distance, in pixels, as a ramp one pixel wide."""
    return (0.5 - distance * size).clamp_(0, 1)


def _distance(shapes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The distances to these shapes, n x size x size, from coordinates in units of their radii."""
    distance = torch.empty_like(x)
    for kind, shape in enumerate(SHAPES):
        chosen = (shapes == kind).nonzero()[:, 0]
        if len(chosen):
            distance[chosen] = shape.distance(x[chosen], y[chosen])
    return distance


def _texture(kinds: Tensor, x: Tensor, y: Tensor, size: int) -> Tensor:
    """How much of each pixel has the texture's second tone."""
    # How far from the middle of the texture's period, in each direction
    from_x, from_y = (((w / TEXTURE_PERIOD).remainder(1) - 0.5).abs() * TEXTURE_PERIOD for w in (x, y))
    stripes, across = (_cover(w - TEXTURE_PERIOD / 4, size) for w in (from_x, from_y))
    checks = stripes + across - 2 * stripes * across
    dots = _cover(torch.hypot(from_x, from_y) - 0.3 * TEXTURE_PERIOD, size)
    plain = torch.zeros_like(x)
    return torch.where(kinds == 1, stripes, torch.where(kinds == 2, checks, torch.where(kinds == 3, dots, plain)))


@dataclass(frozen=True)
class Options(Checked):
    """Options of this source; see the module."""

    size: Annotated[int, Bounds(8, 1024)] = 32
    count: Annotated[int, Bounds(1, 10_000_000)] | None = None
    seed: Annotated[int, Bounds(0, 2**31 - 1)] = 0


def open_source(rest: str, spec: str) -> SceneImages:
    if "?" not in rest:  # Earlier versions wrote options after commas, as in test,size=64 or size=64.
        first, *others = [part.strip() for part in rest.split(",")]
        rest = f"?{'&'.join([first, *others])}" if "=" in first else f"{first}?{'&'.join(others)}"
    name, options = specs.read(Options, rest, spec)
    split = name or "train"
    if split not in SPLITS:
        raise unknown(f"split of '{plain(spec)}'", plain(split), SPLITS)
    return SceneImages(spec, split, **vars(options))
