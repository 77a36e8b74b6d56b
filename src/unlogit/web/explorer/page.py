"""The page's controls, on Gradio. What they answer is drawn as HTML, so that no image is ever written to a file."""

from __future__ import annotations

import dataclasses
import random
from importlib import resources
from typing import Any

import gradio

from unlogit.errors import UnlogitError
from unlogit.web.explorer import shown
from unlogit.web.explorer.answer import Explorer
from unlogit.web.explorer.state import ATTACKS, CLASS_RANGE, CLASSES, CONTROLS, RANGES, SEEDS, State

DEFAULT = "photo/coffee"
"""The image that the page opens on."""
HEADER = (
    "<header><h1>unlogit</h1><p>Which image do the logits of an image stand for? Change them, and see the "
    "reconstruction change.</p></header>"
)
WAITING = 64
"""Changes, of all visitors, that may wait; more are turned away."""
IMAGES = ("image", "other", "plus", "minus")
"""Controls whose value is an address in the gallery."""
SYSTEM = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
SLIDERS = {
    "brightness": ("Brightness", "1 = unchanged"),
    "contrast": ("Contrast", "1 = unchanged"),
    "epsilon": ("Strength ε", "largest change of a pixel value, in 255ths"),
    "toward": ("Position between the two images", "0 = image, 1 = other image"),
    "amount": ("Factor of b − c", "1 gives a + b − c; a is the image"),
    "scale": ("Scale", "every logit times this"),
    "shift": ("Shift", "added to every logit, in sd"),
    "noise": ("Noise", "added to each logit on its own, in sd"),
}


def theme() -> Any:
    """Calm, and with the system's own fonts: Gradio's themes load theirs from elsewhere."""
    return gradio.themes.Base(
        primary_hue="blue", neutral_hue="slate", font=list(SYSTEM), font_mono=["ui-monospace", "Menlo", "monospace"]
    )


def asset(name: str) -> str:
    """A file of the page's, as text."""
    return resources.files("unlogit.web.explorer").joinpath("assets", name).read_text("utf-8")


def build(explorer: Explorer) -> Any:
    """The page, to be mounted."""
    offered = explorer.gallery.offered()
    default = State(DEFAULT)
    controls: dict[str, Any] = {}

    def slider(name: str) -> None:
        label, info = SLIDERS[name]
        reach = RANGES[name]
        controls[name] = gradio.Slider(
            reach.least, reach.most, getattr(default, name), step=reach.step, label=label, info=info, elem_id=name
        )

    def picker(name: str, value: str, label: str = "") -> None:
        controls[name] = gradio.HTML(
            value,
            label_text=label,  # With a label it may stay empty: a second click takes the choice back.
            html_template=asset("picker.html"),
            js_on_load=asset("picker.js"),
            offered=list(offered.items()),  # As data: in a template, a title could hold code.
            elem_id=name,
            apply_default_css=False,
        )

    with gradio.Blocks(title="unlogit explore", analytics_enabled=False, fill_width=True) as page:
        gradio.HTML(HEADER, elem_id="header", js_on_load=None)
        with gradio.Column(elem_id="explorer"):
            stage = gradio.HTML(elem_id="stage", js_on_load=None, apply_default_css=False)
            with gradio.Column(elem_id="controls"), gradio.Tabs():
                with gradio.Tab("Image"):
                    picker("image", default.image)
                    slider("brightness")
                    slider("contrast")
                with gradio.Tab("Logits", render_children=True):
                    for name in ("shift", "scale", "noise"):
                        slider(name)
                    controls["seed"] = gradio.Number(
                        0, precision=0, minimum=0, maximum=SEEDS - 1, label="Random seed of the noise", elem_id="seed"
                    )
                    fresh = gradio.Button("Resample noise", elem_id="resample")
                with gradio.Tab("Directions", render_children=True):
                    controls["control"] = gradio.Radio(
                        [("As chosen", "none"), ("Random, same length (control)", "random")],
                        value=CONTROLS[0],
                        label="Direction",
                        info="of class changes and of b − c together",
                        elem_id="control",
                    )
                    slider("amount")
                    picker("plus", "", "Image b, added")
                    picker("minus", "", "Image c, subtracted")
                    for index in range(CLASSES):
                        controls[f"class{index}"] = gradio.Dropdown(
                            [(shown.short(name), name) for name in explorer.class_names()],
                            value=None,
                            label=f"Class {index + 1}",
                            elem_id=f"class{index}",
                        )
                        controls[f"amount{index}"] = gradio.Slider(
                            CLASS_RANGE.least,
                            CLASS_RANGE.most,
                            0,
                            step=CLASS_RANGE.step,
                            label="Change of its logit",
                            info="in sd of a logit over images",
                            elem_id=f"amount{index}",
                        )
                with gradio.Tab("Between", render_children=True):
                    slider("toward")
                    picker("other", "", "Other image")
                with gradio.Tab("Attack", render_children=True):
                    controls["attack"] = gradio.Radio(
                        [("None", "none"), ("FGSM", "fgsm"), ("PGD", "pgd")],
                        value=ATTACKS[0],
                        label="Attack",
                        info="on each classifier, away from its predicted class",
                        elem_id="attack",
                    )
                    slider("epsilon")
            with gradio.Column(elem_id="below"):
                with gradio.Row(elem_id="actions"):
                    link = gradio.HTML(
                        default.query(),
                        html_template=asset("link.html"),
                        js_on_load=asset("link.js"),
                        elem_id="link",
                        apply_default_css=False,
                    )
                    reset = gradio.Button("Reset", elem_id="reset", size="sm")
                evidence = gradio.HTML(elem_id="evidence", js_on_load=None, apply_default_css=False)

        def draw(state: State) -> tuple[str, str, str]:
            """The page's three blocks."""
            size = max(explorer.gallery.sizes)
            original = explorer.gallery.views(state.image).by_size[size][0]
            other = explorer.gallery.views(state.other).by_size[size][0] if state.other and state.toward else None
            answers = explorer.answer(state)
            changed = bool(shown.facts(dataclasses.replace(state, brightness=1, contrast=1, attack="none")))
            return shown.stage(state, original, other, answers), shown.evidence(answers, changed), state.query()

        def update(*values: Any) -> tuple[str, str, str]:
            try:
                return draw(_state(dict(zip(controls, values, strict=True))))
            except UnlogitError as error:
                return shown.problem(str(error)), "", default.query()

        def resample(*values: Any) -> tuple[Any, ...]:
            seed = random.randrange(SEEDS)
            return seed, *update(*(seed if name == "seed" else v for name, v in zip(controls, values, strict=True)))

        def begin(request: gradio.Request) -> tuple[Any, ...]:
            try:
                state = State.of_query(str(request.query_params))
                state = state if state.image else dataclasses.replace(state, image=default.image)
                return everything(state, draw(state))
            except UnlogitError as error:
                return everything(default, (shown.problem(str(error)), "", default.query()))

        def everything(state: State, drawn: tuple[str, str, str]) -> tuple[Any, ...]:
            values = _values(state)
            return *(values[name] for name in controls), *drawn

        def again(image: str) -> tuple[Any, ...]:
            state = dataclasses.replace(default, image=image)
            return everything(state, draw(state))

        # Serialised: a computation uses every core. A control that moves on while one runs is answered at its last.
        common: dict[str, Any] = {"show_progress": "hidden", "concurrency_id": "answer", "concurrency_limit": 1}
        inputs, blocks = list(controls.values()), [stage, evidence, link]
        for name, control in controls.items():
            moved = control.change if name in IMAGES else control.input
            moved(update, inputs, blocks, trigger_mode="always_last", api_visibility="private", **common)
        fresh.click(resample, inputs, [controls["seed"], *blocks], api_visibility="private", **common)
        reset.click(again, controls["image"], [*inputs, *blocks], api_visibility="private", **common)
        page.load(begin, None, [*inputs, *blocks], api_visibility="private", **common)
    page.queue(max_size=WAITING)
    return page


def _state(values: dict[str, Any]) -> State:
    """Return the state of the controls' values; raise `UnlogitError` for what no control of the page gives."""
    pairs = [(values.pop(f"class{index}"), values.pop(f"amount{index}")) for index in range(CLASSES)]
    try:
        fields = {
            name: str(value or "") if name in (*IMAGES, "attack", "control") else float(value or 0)
            for name, value in values.items()
        }
        classes = {str(name): float(amount) for name, amount in pairs if name and amount}
        return State(**(fields | {"seed": int(fields["seed"])}), classes=tuple(classes.items()))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise UnlogitError("a control has an invalid value: reload the page") from error


def _values(state: State) -> dict[str, Any]:
    """Return the values of the controls, by name."""
    values = {f.name: getattr(state, f.name) for f in dataclasses.fields(state) if f.name != "classes"}
    padded = [*state.classes, *[(None, 0.0)] * CLASSES]
    for index in range(CLASSES):
        values[f"class{index}"], values[f"amount{index}"] = padded[index]
    return values


def mount(app: Any, explorer: Explorer) -> None:
    """Put the page at / of a FastAPI application."""
    page = build(explorer)
    # Only `launch` sets it, and without it Gradio copies any file of this machine that an event names.
    page.has_launched = True
    gradio.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=False,
        max_file_size=1,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css=asset("explore.css"),
    )
