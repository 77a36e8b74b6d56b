"""What inverters answer to a state: each control does what it says, and the code handed out gives the same images."""

from __future__ import annotations

import ast
import runpy
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unlogit import photos
from unlogit.errors import UnlogitError
from unlogit.images import View, decode
from unlogit.web.explorer import answer as module
from unlogit.web.explorer import figure, shown
from unlogit.web.explorer.answer import Answer, Explorer, unit
from unlogit.web.explorer.code import script
from unlogit.web.explorer.state import State

CAT = State("photo/cat")
NAMES = ("first", "second", "layer")


def first(explorer: Explorer, state: State) -> Answer:
    return explorer.answer(state)[0]


def test_a_plain_state_is_a_plain_reconstruction(explorer: Explorer) -> None:
    answers = explorer.answer(CAT)
    assert [answer.name for answer in answers] == list(NAMES)
    seen = View(32).apply([decode((Path(photos.__file__).parent / "cat.jpg").read_bytes(), "cat")])
    for answer in answers:
        noise = answer.inverter.sample_noise(1, torch.Generator().manual_seed(0))
        made = answer.inverter.reconstruct(seen, noise)
        assert torch.equal(answer.seen, seen[0])
        torch.testing.assert_close(answer.reconstruction, made[0])
        classifier = answer.inverter.representation.classifier
        torch.testing.assert_close(answer.before, classifier(seen)[0].softmax(0))
        torch.testing.assert_close(answer.after, classifier(made)[0].softmax(0))
        representation = answer.inverter.representation
        both = representation.standardise(representation.raw(torch.cat([seen, made])))
        assert answer.error == pytest.approx(float((both[0] - both[1]).square().mean()), rel=1e-3)
    assert torch.equal(answers[0].asked, answers[0].before) and answers[2].asked is None


def test_logits_are_moved_as_asked(explorer: Explorer) -> None:
    plain = first(explorer, CAT)
    inverter = plain.inverter
    raw, sd = inverter.representation.raw(plain.seen[None]), unit(inverter)
    names = inverter.representation.classifier.class_names

    def asked(**changes: Any) -> torch.Tensor:
        found = first(explorer, replace(CAT, **changes)).asked
        assert found is not None
        return found

    torch.testing.assert_close(asked(shift=2.0), plain.before)
    torch.testing.assert_close(asked(scale=0.5), (raw[0] / 2).softmax(0))
    moved = raw[0].clone()
    moved[3] += 4 * sd
    torch.testing.assert_close(asked(classes=((names[3], 4.0),)), moved.softmax(0))
    end = inverter.representation.raw(explorer.gallery.views("set/3").by_size[32])[0]
    torch.testing.assert_close(asked(other="set/3", toward=1.0), end.softmax(0))
    torch.testing.assert_close(asked(other="set/3", toward=0.25), (0.75 * raw[0] + 0.25 * end).softmax(0))
    assert not torch.allclose(asked(noise=1.0), plain.before)
    assert not torch.equal(asked(noise=1.0), asked(noise=1.0, seed=1))


@pytest.mark.parametrize(
    "changes",
    [{"shift": 1.0}, {"scale": 2.0}, {"noise": 1.0}, {"seed": 1}, {"brightness": 0.5}, {"contrast": 2.0}],
)
def test_every_control_changes_every_image(explorer: Explorer, changes: dict[str, Any]) -> None:
    before, after = explorer.answer(CAT), explorer.answer(replace(CAT, **changes))
    for a, b in zip(before, after, strict=True):
        assert not torch.equal(a.reconstruction, b.reconstruction)


def test_arithmetic_and_its_control(explorer: Explorer) -> None:
    inverter = first(explorer, CAT).inverter
    raw = {each: inverter.representation.raw(explorer.gallery.views(each).by_size[32])[0] for each in
           ("photo/cat", "set/1", "set/2")}  # fmt: skip
    moved = replace(CAT, plus="set/1", minus="set/2", amount=0.5)
    expected = raw["photo/cat"] + 0.5 * (raw["set/1"] - raw["set/2"])
    torch.testing.assert_close(first(explorer, moved).asked, expected.softmax(0))
    control = first(explorer, replace(moved, control="random"))
    assert not torch.allclose(control.asked, expected.softmax(0))
    assert torch.equal(control.asked, first(explorer, replace(moved, control="random")).asked)
    # Without a direction there is nothing to replace, and one image of the two is none.
    for state in (replace(CAT, control="random"), replace(CAT, plus="set/1")):
        assert torch.equal(first(explorer, state).reconstruction, first(explorer, CAT).reconstruction)


def test_the_page_says_which_size_the_classifier_sees(explorer: Explorer) -> None:
    answers = explorer.answer(CAT)
    assert shown.sizes(answers) == "The classifiers see the image at 32 px."
    assert shown.sizes(answers[:1]) == "The classifier sees the image at 32 px."
    smaller = replace(answers[1], seen=answers[1].seen[:, :16, :16])
    assert shown.sizes([answers[0], smaller]).endswith("at 32 px (first), 16 px (second).")


def test_no_inverter_s_numbers_stand_alone_in_a_row(explorer: Explorer) -> None:
    answers = explorer.answer(CAT)
    assert "--columns: 3" in shown.evidence(answers, False)
    assert "--columns: 2" in shown.evidence([*answers, answers[0]], False)


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_attacks_stay_within_their_strength_and_raise_the_loss(explorer: Explorer, attack: Any) -> None:
    plain = first(explorer, CAT)
    attacked = first(explorer, replace(CAT, attack=attack, epsilon=16.0))
    difference = (attacked.seen - plain.seen).abs().max()
    assert 15 / 255 < difference < 16.001 / 255
    top = int(plain.before.argmax())
    assert attacked.before[top] < plain.before[top]
    assert torch.equal(first(explorer, replace(CAT, attack=attack, epsilon=0.0)).seen, plain.seen)


def test_what_does_not_apply_is_told(explorer: Explorer) -> None:
    name = explorer.class_names()[0]
    answers = explorer.answer(replace(CAT, classes=((name, 2.0), ("unicorn", 1.0))))
    assert answers[0].notes == ("has no class 'unicorn'",)
    assert answers[2].notes == ("inverts penultimate: single classes cannot be moved in it",)


def test_a_slider_costs_no_second_encoding(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    state = replace(CAT, attack="pgd")
    explorer.answer(state)

    def never(*_: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(module, "prepare", never)
    explorer.answer(replace(state, shift=1.0, noise=0.5, seed=3))
    with pytest.raises(AssertionError, match="encoded again"):
        explorer.answer(replace(state, brightness=0.7))


def test_images_that_are_not_there(explorer: Explorer) -> None:
    for address, told in [
        ("", "pick one"),
        ("photo/nobody", "no image 'photo/nobody'"),
        ("set/20", "no image 'set/20'"),
        (f"dropped/{'0' * 32}", "drop it in again"),
    ]:
        with pytest.raises(UnlogitError, match=told):
            explorer.answer(State(address))


STATES = [
    CAT,
    State("set/5", seed=7, shift=-0.5),
    State(
        "photo/beagle",
        brightness=1.3,
        contrast=0.7,
        attack="pgd",
        epsilon=4.0,
        other="set/2",
        toward=0.5,
        classes=(("circle", 3.0), ("unicorn", 1.0)),
        plus="set/1",
        minus="photo/cat",
        amount=0.5,
        scale=1.5,
        shift=0.5,
        noise=0.25,
        seed=3,
    ),
    State("photo/zebra", attack="fgsm", noise=1.0),
    State("photo/coffee", plus="photo/cat", minus="set/3", control="random", seed=5),
]


@pytest.mark.parametrize("state", STATES, ids=["plain", "set", "everything", "fgsm", "control"])
def test_the_code_makes_the_same_images(
    explorer: Explorer, saved_inverters: dict[str, str], state: State, tmp_path: Path
) -> None:
    if state.classes:
        state = replace(state, classes=((explorer.class_names()[1], 3.0), ("unicorn", 1.0)))
    opened = {name: (saved_inverters[name], inverter) for name, inverter in explorer.inverters.items()}
    assert explorer.gallery.source is not None
    text = script(state, opened, explorer.gallery.source.spec)
    assert_made(text, explorer.answer(state), tmp_path)


def test_the_code_for_a_dropped_image_takes_the_file(
    explorer: Explorer, saved_inverters: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "mine.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)).save(file)
    state = State(explorer.gallery.drop(file.read_bytes()), scale=0.5)
    text = script(state, {"first": (saved_inverters["first"], explorer.inverters["first"])}, None)
    assert_made(text, explorer.answer(state)[:1], tmp_path, str(file))


def assert_made(text: str, answers: list[Answer], folder: Path, *arguments: str) -> None:
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert {alias.name for alias in node.names} <= used, f"an import is not used in\n{text}"
    assert max(map(len, text.splitlines())) < 400
    file = folder / "figure.py"
    file.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [str(file), *arguments])
        runpy.run_path(str(file), run_name="__main__")
    for answer in answers:
        made = np.asarray(Image.open(folder / f"{answer.name}.png")).astype(int)
        shown_here = (answer.reconstruction * 255).round().permute(1, 2, 0).numpy().astype(int)
        assert abs(made - shown_here).max() <= 1


def test_figure_and_page_tell_what_was_done(explorer: Explorer) -> None:
    state = STATES[2]
    answers = explorer.answer(state)
    with Image.open(BytesIO(figure.png(state, answers[0].seen, answers))) as png:
        assert png.width > 1000 and png.height > 500
    assert "scaled × 1.5" in shown.facts(state) and "PGD of 4/255" in shown.facts(state)
    bars = shown.bars(answers[0])
    top = explorer.inverters["first"].representation.classifier.class_names[int(answers[0].before.argmax())]
    assert bars[0].name == shown.short(top) and bars[0].before == float(answers[0].before.max())
    drawn = shown.stage(state, answers[0].seen, None, answers)
    assert drawn.count('class="made"') == 3 and drawn.count("data:image/png;base64,") == 7
