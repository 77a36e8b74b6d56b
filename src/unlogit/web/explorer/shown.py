"""From answers to what is drawn of them: words, bars and the page's two blocks."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import jinja2
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from unlogit.outside import short_names
from unlogit.web.explorer.answer import Answer
from unlogit.web.explorer.state import State
from unlogit.web.guard import hide_folders

FIRST, ALL = 3, 6
"""Number of bars: the image's classes come first, then the reconstruction's."""


@dataclass(frozen=True)
class Bar:
    """A class, and its probability in the image, in the reconstruction, and in the logits asked for (if any were)."""

    name: str
    before: float
    asked: float | None
    after: float


def bars(answer: Answer) -> list[Bar]:
    """Return the classes to show: those predicted for the image first, then those for the reconstruction."""
    names = short_names(answer.inverter.representation.classifier.class_names)
    indices = answer.before.topk(min(FIRST, len(answer.before))).indices.tolist()
    for index in answer.after.topk(min(ALL, len(answer.after))).indices.tolist():
        if index not in indices and len(indices) < ALL:
            indices.append(index)
    return [
        Bar(
            names[index],
            float(answer.before[index]),
            None if answer.asked is None else float(answer.asked[index]),
            float(answer.after[index]),
        )
        for index in indices
    ]


def short(name: str) -> str:
    """Return the first of a class's synonyms."""
    return name.split(",")[0]


def facts(state: State) -> list[str]:
    """Describe the changes of a state in words."""
    changes = []
    if state.brightness != 1:
        changes.append(f"brightness × {state.brightness:g}")
    if state.contrast != 1:
        changes.append(f"contrast × {state.contrast:g}")
    if state.attack != "none":
        changes.append(f"{state.attack.upper()} of {state.epsilon:g}/255")
    if state.other and state.toward:
        changes.append(f"{state.toward:.0%} of the way to {state.other.partition('/')[2][:20]}")
    changes += [f"{short(name)} {amount:+g} sd".replace("-", "−") for name, amount in state.classes if amount]
    if state.plus and state.minus:
        b, c = (address.partition("/")[2][:20] for address in (state.plus, state.minus))
        changes.append(f"{state.amount:+g} × ({b} − {c})".replace("-", "−"))
    if state.control == "random" and (state.classes or (state.plus and state.minus)):
        changes.append("along a random direction of the same length instead")
    if state.scale != 1:
        changes.append(f"scaled × {state.scale:g}")
    if state.shift:
        changes.append(f"shifted {state.shift:+g} sd".replace("-", "−"))
    if state.noise:
        changes.append(f"noise of {state.noise:g} sd")
    return changes


def stage(state: State, original: Tensor, other: Tensor | None, answers: Sequence[Answer]) -> str:
    """HTML of the images: the one given and, beside it, each inverter's."""
    shown = [
        {
            "name": answer.name,
            "reconstruction": uri(answer.reconstruction),
            "seen": uri(answer.seen) if state.attack != "none" else None,
            "before": _top(answer, answer.before),
            "after": _top(answer, answer.after),
            "kept": int(answer.before.argmax()) == int(answer.after.argmax()),
        }
        for answer in answers
    ]
    other_uri = None if other is None else uri(other)
    return _template("stage").render(original=uri(original), other=other_uri, answers=shown, sizes=sizes(answers))


def sizes(answers: Sequence[Answer]) -> str:
    """Return at which size the image reaches the classifiers, in words."""
    by_name = {answer.name: answer.seen.shape[-1] for answer in answers}
    if len(set(by_name.values())) == 1:
        whom = "classifier sees" if len(by_name) == 1 else "classifiers see"
        return f"The {whom} the image at {next(iter(by_name.values()))} px."
    return f"The classifiers see the image at {', '.join(f'{size} px ({name})' for name, size in by_name.items())}."


def evidence(answers: Sequence[Answer], changed: bool) -> str:
    """HTML of the class probabilities and errors."""
    columns = len(answers) if len(answers) <= 3 else 2 if len(answers) == 4 else 3
    rows = [(answer, bars(answer)) for answer in answers]
    return _template("evidence").render(answers=rows, changed=changed, columns=columns)


def problem(message: str) -> str:
    """HTML in the images' place where there are none."""
    return str(Markup('<p class="problem" role="alert">{}</p>').format(hide_folders(message)))


def uri(image: Tensor) -> str:
    """An image, 3 x S x S in [0, 1], as a PNG within the page: nothing is written, nothing asked for again."""
    buffer = io.BytesIO()
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _top(answer: Answer, probabilities: Tensor) -> tuple[str, float]:
    best = int(probabilities.argmax())
    return short_names(answer.inverter.representation.classifier.class_names)[best], float(probabilities[best])


@cache
def _template(name: str) -> jinja2.Template:
    loader = jinja2.PackageLoader("unlogit.web.explorer", "assets")
    environment = jinja2.Environment(loader=loader, autoescape=True)
    environment.filters["hide_folders"] = hide_folders
    return environment.get_template(f"{name}.html.jinja")
