"""What inverters answer to a state. No page in here."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from unlogit import manipulate
from unlogit.attacks import fgsm, pgd
from unlogit.errors import UnlogitError
from unlogit.methods import Inverter, Sight
from unlogit.metrics.reencoding import logit_error
from unlogit.outside import distinct
from unlogit.web.explorer.gallery import Gallery
from unlogit.web.explorer.state import State

PGD_STEPS = 10
ENCODINGS = 256
"""How many encoded images are held, over all inverters."""


@dataclass(frozen=True)
class Encoding:
    """An image as a classifier was given it, 1 x 3 x S x S, and what it said: representation and logits, 1 x K."""

    seen: Tensor
    raw: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Answer:
    """One inverter's.

    Attributes:
        name, inverter: who answers.
        seen: the image as its classifier was given it, 3 x S x S, attacked where the state says so.
        reconstruction: 3 x S x S in [0, 1].
        before, after: class probabilities of either, K.
        asked: of the representation that was inverted, where it is logits; otherwise None.
        error: mean squared difference between the representation asked for and the reconstruction's, both
            standardised: 0 for the same, 2 for that of another image.
        notes: what of the state does not apply to this inverter.
    """

    name: str
    inverter: Inverter
    seen: Tensor
    reconstruction: Tensor
    before: Tensor
    asked: Tensor | None
    after: Tensor
    error: float
    notes: tuple[str, ...]


def unit(inverter: Inverter) -> float:
    """One sd of the inverter's representation: the mean over dimensions of the standard deviation over images."""
    return float(inverter.representation.scale.mean())


class Explorer:
    """Inverters side by side, over one gallery. Encoded images are kept, so that a change costs little.

    Args:
        inverters: by the name to show.
        gallery: of images at the sizes at which they reach the classifiers.
        view: which sizes these are, see `Inverter.side`.
    """

    def __init__(self, inverters: Mapping[str, Inverter], gallery: Gallery, view: Sight = "classifier") -> None:
        self.inverters = dict(inverters)
        self.gallery = gallery
        self.view = view
        self._encodings: OrderedDict[tuple[object, ...], Encoding] = OrderedDict()
        self._computing = threading.Lock()  # One at a time is as fast, and no two visitors share a network's hooks.

    def class_names(self) -> list[str]:
        """Return the class names of all inverted classifiers, each once; with the index where several share a name."""
        lists = [distinct(i.representation.classifier.class_names) for i in self.inverters.values() if moves_classes(i)]
        return list(dict.fromkeys(name for names in lists for name in names))

    def answer(self, state: State) -> list[Answer]:
        """One answer an inverter; raises `UnlogitError` where an image is not there."""
        if not state.image:
            raise UnlogitError("no image: pick one or drop one in")
        with self._computing, torch.no_grad():
            return [self._answer(name, inverter, state) for name, inverter in self.inverters.items()]

    def _answer(self, name: str, inverter: Inverter, state: State) -> Answer:
        representation = inverter.representation
        encoding = self._encode(name, inverter, state)
        raw, notes, sd = encoding.raw, [], unit(inverter)
        if state.other and state.toward:
            plain = State(state.other)
            raw = manipulate.interpolate(raw, state.toward, self._encode(name, inverter, plain).raw)
        names = distinct(representation.classifier.class_names)
        amounts: dict[int, float] = {}
        for wanted, amount in state.classes:
            if not moves_classes(inverter):
                notes.append(f"inverts {representation.layer}: single classes cannot be moved in it")
            elif wanted not in names:
                notes.append(f"has no class '{wanted.split(',')[0]}'")
            else:
                amounts[names.index(wanted)] = amount * sd
        if has_directions(state):
            direction = manipulate.class_direction(raw, amounts)
            if state.plus and state.minus:
                plus, minus = (self._encode(name, inverter, State(each)).raw for each in (state.plus, state.minus))
                direction = manipulate.move(direction, state.amount, plus - minus)
            if state.control == "random":
                direction = manipulate.random_direction(direction, state.seed)
            raw = manipulate.move(raw, 1, direction)
        chance = torch.Generator().manual_seed(state.seed)
        own = inverter.sample_noise(1, chance)
        raw = manipulate.shift(manipulate.scale(raw, state.scale), state.shift * sd)
        raw = manipulate.perturb(raw, state.noise * sd, torch.randn(raw.shape, generator=chance).to(raw.device))
        reconstruction = inverter.invert(raw, own)
        again, logits = _read(inverter, reconstruction)
        standard = representation.standardise
        return Answer(
            name,
            inverter,
            encoding.seen[0].cpu(),
            reconstruction[0].cpu(),
            encoding.logits[0].softmax(0).cpu(),
            raw[0].softmax(0).cpu() if representation.layer == "logits" else None,
            logits[0].softmax(0).cpu(),
            float(logit_error(standard(raw), standard(again))),
            tuple(dict.fromkeys(notes)),
        )

    def _encode(self, name: str, inverter: Inverter, state: State) -> Encoding:
        strength = state.epsilon if state.attack != "none" else 0
        key = (name, state.image, state.brightness, state.contrast, state.attack, strength)
        if key not in self._encodings:
            pixels = self.gallery.views(state.image).by_size[inverter.side(self.view)]
            pixels = prepare(inverter, pixels.to(inverter.representation.shift.device), state)
            self._encodings[key] = Encoding(pixels, *_read(inverter, pixels))
            if len(self._encodings) > ENCODINGS:
                self._encodings.popitem(last=False)
        self._encodings.move_to_end(key)
        return self._encodings[key]


def moves_classes(inverter: Inverter) -> bool:
    """Whether a dimension of its representation is a class's logit."""
    return inverter.representation.layer == "logits"


def has_directions(state: State) -> bool:
    """Whether the state moves along class directions or b - c."""
    return bool(state.classes or (state.plus and state.minus))


def prepare(inverter: Inverter, pixels: Tensor, state: State) -> Tensor:
    """The image as the classifier is given it: made brighter, richer in contrast, attacked."""
    pixels = transforms.adjust_brightness(pixels, state.brightness)
    pixels = transforms.adjust_contrast(pixels, state.contrast)
    if state.attack == "none":
        return pixels
    classifier, epsilon = inverter.representation.classifier, state.epsilon / 255
    labels = classifier(pixels).argmax(1)
    if state.attack == "fgsm":
        return fgsm(classifier, pixels, labels, epsilon)
    return pgd(classifier, pixels, labels, epsilon, PGD_STEPS, random_start=False)


def _read(inverter: Inverter, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return representation and logits, in one pass."""
    representation = inverter.representation
    outputs = representation.classifier.features(pixels, [representation.module])
    return representation.reduce(outputs[representation.module]), outputs["logits"]
