"""A state as the Python that makes the same images, with nothing but this package's public functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from unlogit.methods import Inverter, Sight
from unlogit.web.explorer.answer import PGD_STEPS, has_directions, moves_classes
from unlogit.web.explorer.state import State


def script(
    state: State, opened: Mapping[str, tuple[str, Inverter]], images: str | None, view: Sight = "classifier"
) -> str:
    """Return a program that writes NAME.png, the reconstruction, for each inverter.

    Args:
        state: what the page shows.
        opened: by name, what the inverter was opened by, and it.
        images: what the data set was opened by.
        view: at which size images reach the classifiers.
    """
    body = [f"image = {_read(state.image, images)}"]
    leads = bool(state.other and state.toward)
    body += [f"other = {_read(state.other, images)}"] if leads else []
    if state.plus and state.minus:
        body += [f"plus = {_read(state.plus, images)}", f"minus = {_read(state.minus, images)}"]
    specs = {name: spec for name, (spec, _) in opened.items()}
    body += ["", "# Each as open_inverter takes it: complete the path where yours is in another folder."]
    body += [f"for name, spec in {specs!r}.items():"]
    moves = bool(state.classes) and any(moves_classes(inverter) for _, inverter in opened.values())
    body += [f"    {line}" for line in _steps(state, leads, moves, "" if view == "classifier" else f", {view!r}")]
    return "\n".join(
        [f'"""Made by unlogit explore, of /?{state.query()}."""', "", *_imports("\n".join(body)), "", *body, ""]
    )


def _steps(state: State, leads: bool, moves: bool, view: str) -> Iterator[str]:
    """What is done with one inverter, in the order of the state's fields."""
    yield "inverter = open_inverter(spec)"
    yield "representation = inverter.representation"
    yield f"(seen,) = inverter.views(image{view})"
    for name in ("brightness", "contrast"):
        if (factor := getattr(state, name)) != 1:
            yield f"seen = functional.adjust_{name}(seen, {factor!r})"
    if state.attack != "none":
        yield "classifier = representation.classifier"
        how = f", steps={PGD_STEPS}, random_start=False" if state.attack == "pgd" else ""
        yield f"seen = {state.attack}(classifier, seen, classifier(seen).argmax(1), {state.epsilon!r} / 255{how})"
    yield "raw = representation.raw(seen)"
    if leads:
        yield f"end = representation.raw(*inverter.views(other{view}))"
        yield f"raw = manipulate.interpolate(raw, {state.toward!r}, end)"
    if state.shift or state.noise or moves:
        yield "sd = float(representation.scale.mean())  # Of a dimension, over images."
    if moves:
        yield 'names = distinct(representation.classifier.class_names) if representation.layer == "logits" else ()'
        yield f"classes = {dict(state.classes)!r}"
        yield "amounts = {names.index(label): amount * sd for label, amount in classes.items() if label in names}"
    if has_directions(state):
        yield f"direction = manipulate.class_direction(raw, {'amounts' if moves else '{}'})"
        if state.plus and state.minus:
            yield f"b, c = (representation.raw(*inverter.views(image{view})) for image in (plus, minus))"
            yield f"direction = manipulate.move(direction, {state.amount!r}, b - c)"
        if state.control == "random":
            yield f"direction = manipulate.random_direction(direction, {state.seed})"
        yield "raw = manipulate.move(raw, 1, direction)"
    yield f"chance = torch.Generator().manual_seed({state.seed})"
    yield "noise = inverter.sample_noise(1, chance)"
    if state.scale != 1:
        yield f"raw = manipulate.scale(raw, {state.scale!r})"
    if state.shift:
        yield f"raw = manipulate.shift(raw, {state.shift!r} * sd)"
    if state.noise:
        yield f"raw = manipulate.perturb(raw, {state.noise!r} * sd, torch.randn(raw.shape, generator=chance))"
    yield 'save_image(inverter.invert(raw, noise), f"{name}.png")'


def _read(address: str, images: str | None) -> str:
    kind, _, rest = address.partition("/")
    if kind == "set":
        return f"open_images({images!r}).decode({rest})"
    if kind == "photo":
        return f'decode((Path(photos.__file__).parent / "{rest}.jpg").read_bytes(), "{rest}")'
    return "decode(Path(sys.argv[1]).read_bytes(), sys.argv[1])  # Run it with the file that was dropped in."


def _imports(body: str) -> Iterator[str]:
    """What the body uses, and no more."""
    for line in ("import sys", "from pathlib import Path"):
        if f"{line.rpartition(' ')[2]}" in body:
            yield line
    yield "\nimport torch"
    if "functional." in body:
        yield "from torchvision.transforms.v2 import functional"
    yield "from torchvision.utils import save_image\n"
    for module, names in {
        "unlogit": ("manipulate", "photos"),
        "unlogit.attacks": ("fgsm", "pgd"),
        "unlogit.images": ("decode", "open_images"),
        "unlogit.methods": ("open_inverter",),
        "unlogit.outside": ("distinct",),
    }.items():
        if used := [name for name in names if re.search(rf"(?<![.\w]){name}[.(]", body)]:
            yield f"from {module} import {', '.join(used)}"
