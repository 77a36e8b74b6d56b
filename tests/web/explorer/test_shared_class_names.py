"""Two classes that share a name are two in the explorer: either can be moved, and neither stands for the other."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch

from unlogit.web.explorer import shown
from unlogit.web.explorer.answer import Explorer, unit
from unlogit.web.explorer.state import State


def test_each_of_two_classes_of_one_name(explorer: Explorer) -> None:
    inverter = deepcopy(explorer.inverters["first"])
    names = ("crane", "owl", "crane, bird", "crane", *(f"class {k}" for k in range(4, 10)))
    inverter.representation.classifier.class_names = names
    alone = Explorer({"first": inverter}, explorer.gallery)
    assert alone.class_names()[:4] == ["crane (0)", "owl", "crane, bird", "crane (3)"]
    state = State("photo/cat")
    raw = inverter.representation.raw(alone.answer(state)[0].seen[None])
    for name, index in (("crane (0)", 0), ("crane (3)", 3)):
        asked = alone.answer(replace(state, classes=((name, 2.0),)))[0].asked
        expected = raw.clone()
        expected[0, index] += 2 * unit(inverter)
        torch.testing.assert_close(asked, expected[0].softmax(0))
    answer = replace(alone.answer(state)[0], before=torch.eye(10)[0], after=torch.eye(10)[3])
    assert {bar.name for bar in shown.bars(answer)} >= {"crane (0)", "crane (3)"}
    page = shown.stage(state, torch.zeros(3, 32, 32), None, [answer])
    assert "crane (0)" in page and page.count('class="kept"') == 1
    same = replace(answer, after=torch.eye(10)[0])
    assert shown.stage(state, torch.zeros(3, 32, 32), None, [same]).count('class="kept"') == 2
