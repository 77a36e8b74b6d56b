"""Naming trials: what is created, served and counted."""

from __future__ import annotations

import csv
import io
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from scipy.stats import bootstrap

from unlogit import cli
from unlogit.errors import UnlogitError
from unlogit.web.study import exports
from unlogit.web.study.create import CreateConfig, check_labels, draw_choices
from unlogit.web.study.design import Design
from unlogit.web.study.observer import observe
from unlogit.web.study.results import Results
from unlogit.web.study.server import create_app
from unlogit.web.study.tables import Database, Study

Make = Callable[..., tuple[Study, str]]
NAMES = tuple(f"class {index}" for index in range(40))
CONDITIONS = ["original", "near", "far"]


def test_choices_are_seeded_and_hold_the_class_once() -> None:
    labels = [0, 7, 39, 7]
    drawn = draw_choices(labels, NAMES, 16, seed=3)
    assert drawn == draw_choices(labels, NAMES, 16, seed=3) != draw_choices(labels, NAMES, 16, seed=4)
    for label, names in zip(labels, drawn, strict=True):
        assert len(set(names)) == 16 and set(names) <= set(NAMES) and names.count(NAMES[label]) == 1
        assert names == sorted(names, key=str.casefold)
    assert draw_choices([0], ("b", "A", "c"), 3, seed=0) == [["A", "b", "c"]]
    assert draw_choices([0], ("10", "9", "8"), 3, seed=0) == [["8", "9", "10"]]
    assert drawn[1] != drawn[3]  # Two images of one class have other alternatives.


def test_the_class_stands_at_every_position_and_others_are_drawn_alike() -> None:
    labels = [place % 40 for place in range(2_000)]
    drawn = draw_choices(labels, NAMES, 4, seed=0)
    others = Counter(name for label, names in zip(labels, drawn, strict=True) for name in names if name != NAMES[label])
    assert max(others.values()) < 1.35 * 150 and min(others.values()) > 0.7 * 150
    positions = Counter(names.index(NAMES[label]) for label, names in zip(labels, drawn, strict=True))
    assert all(count > 400 for count in positions.values()) and len(positions) == 4


@pytest.mark.parametrize(
    ("labels", "names", "says"),
    [
        ([0, -1], NAMES, "have no label"),
        ([-1, -1], (), "have no label"),
        ([0, 1], NAMES[:9], "choices 16: must be at most 9"),
        ([0, 1], (*NAMES, "x" * 101), "at most 100 characters"),
    ],
)
def test_images_without_names_to_choose_from_are_one_line(labels: list[int], names: tuple[str, ...], says: str) -> None:
    config = CreateConfig(inverters=("a",), images="folder:x", trial="naming")
    with pytest.raises(UnlogitError, match=says):
        check_labels(labels, names, config)


@pytest.fixture
def opened(tmp_path: Path, make_naming_study: Make) -> Iterator[tuple[TestClient, Study, str, Database]]:
    """A client of a naming study of 6 images and 2 checks, the study, the researcher's token and the database."""
    database = Database(str(tmp_path / "study.sqlite"))
    study, token = make_naming_study(str(tmp_path / "study.sqlite"), checks=2)
    with TestClient(create_app(database)) as client:
        yield client, study, token, database


def export(client: TestClient, token: str, name: str) -> list[dict[str, str]]:
    response = client.get(f"/s/study/results/{name}", headers={"authorization": f"Bearer {token}"})
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(response.text)))


def answer(client: TestClient, participant: str, trial: int, chosen: str) -> int:
    body = {"participant": participant, "key": secrets.token_hex(16), "trial": trial, "chosen": chosen}
    return client.post("/s/study/answers", json=body | {"milliseconds": 900, "shows": 1}).status_code


def test_answers_are_names_of_the_trial_and_reach_the_exports(
    opened: tuple[TestClient, Study, str, Database],
) -> None:
    client, study, token, _ = opened
    person = secrets.token_hex(16)
    state = client.post("/s/study/participants", json={"participant": person}).json()
    design = Design.of(study)
    trials = design.of_participant(0)
    assert [len(shown) for shown in state["trials"]] == [0 if trial.check else 1 for trial in trials]
    assert [tuple(names) for names in state["choices"]] == [design.choices(trial) for trial in trials]
    assert state["checks"] == {str(n): trial.correct for n, trial in enumerate(trials) if trial.check}
    for shown in state["trials"]:
        assert all(client.get(f"/s/study/pictures/{address}.png").status_code == 200 for address in shown)
    for wrong in ("left", "", NAMES[0], "x" * 101):
        assert answer(client, person, 0, wrong) == 422
    chosen = [names[3] for names in state["choices"]]
    assert [answer(client, person, number, name) for number, name in enumerate(chosen)] == [200] * 8
    rows = export(client, token, "votes.csv")
    assert [row["chosen"] for row in rows] == chosen
    assert [row["correct"] for row in rows] == [str(int(n == t.correct)) for n, t in zip(chosen, trials, strict=True)]
    assert sorted(row["shown"] for row in rows if row["attention_check"] == "0") == sorted(CONDITIONS * 2)
    assert {row["class"] for row in rows if row["attention_check"] == "0"} == set(study.labels)
    token_header = {"authorization": f"Bearer {token}"}
    for name in exports.EXPORTS["naming"]:
        assert client.get(f"/s/study/results/{name}", headers=token_header).status_code == 200
    assert client.get("/s/study/results/2afc.zip", headers=token_header).status_code == 404
    page = client.get("/s/study/results", headers=token_header).text
    assert "Accuracy" in page and "Preference" not in page and "<b>bold</b>" not in page


def test_titles_follow_the_kind_of_trial(opened: tuple[TestClient, Study, str, Database]) -> None:
    client, study, _, _ = opened
    assert study.question == "Which of these is in the image?"
    page = client.get("/s/study").text
    assert page.count('class="name"') == 16 and "two reconstructions" not in page


def test_a_metric_cannot_name(opened: tuple[TestClient, Study, str, Database]) -> None:
    _, study, _, database = opened
    with pytest.raises(UnlogitError, match="--trial comparison"):
        observe(database, study, "pixel_error")


def test_accuracy_and_its_interval_by_another_computation(
    tmp_path: Path, make_naming_study: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = str(tmp_path / "study.sqlite"), tmp_path / "out"
    study, _ = make_naming_study(path, places=24, checks=2)
    simulate = ["study", "simulate", "--database", path, "--participants", "30", "--accuracy", "0.4", "--passing", "1"]
    assert cli.main(simulate) == 0
    assert cli.main(["study", "results", "--database", path, "--simulated", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    found = Results.read(Database(path), study, simulated=True)
    assert found.chance == 1 / 16 and found.observations[0].subjects == 0
    # From the exported votes alone, by scipy.
    right: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in csv.DictReader((out / "votes.csv").read_text().splitlines()):
        if row["attention_check"] == "0":
            assert row["simulated"] == "1"
            right[row["shown"]][row["subject"]].append(int(row["chosen"] == row["class"]))
    assert list(right) and set(right) == set(CONDITIONS)
    for maker, by_subject in right.items():
        assert {len(answers) for answers in by_subject.values()} == {8} and len(by_subject) == 30
        share = np.mean([np.mean(answers) for answers in by_subject.values()])
        sums = np.array([sum(answers) for answers in by_subject.values()])
        independent = bootstrap((sums / 8,), np.mean, n_resamples=4_000, method="percentile", rng=7)
        one = found.observations[1].accuracy(maker)
        assert one is not None and one.subjects is not None
        assert one.share.value == one.subjects.value == pytest.approx(share)
        assert one.share.n == 240 and one.subjects.n == 30
        expected = independent.confidence_interval
        assert [one.subjects.low, one.subjects.high] == pytest.approx([expected.low, expected.high], abs=0.015)
        assert abs(share - (0.7 if maker == "original" else 0.4)) < 0.1
        assert f"| study | class named: {maker} | no answers yet | {exports.percent(one.subjects)}, n = 240" in printed
    files = {file.name for file in out.iterdir()}
    assert files == {"votes.csv", "participants.csv", "attention.csv", "images.csv", "results.json", "accuracy.csv"}
    assert cli.main(["study", "results", "--database", path, "--out", str(out)]) == 0  # Replaces its own files.


def test_images_and_their_most_frequent_names(tmp_path: Path, make_naming_study: Make) -> None:
    path = str(tmp_path / "study.sqlite")
    study, _ = make_naming_study(path, places=3, checks=0)
    database = Database(path)
    client = TestClient(create_app(database))
    wrong = next(name for name in study.choices[0] if name != study.labels[0])
    for _ in range(9):  # Three participants a condition and image.
        person = secrets.token_hex(16)
        state = client.post("/s/study/participants", json={"participant": person}).json()
        for number, names in enumerate(state["choices"]):
            assert answer(client, person, number, wrong if names == study.choices[0] else names[0]) == 200
    (people,) = Results.read(database, study).observations
    first = [item for item in people.named if item.place == 0]
    assert [(item.maker, item.label, item.named, item.n, item.most_chosen) for item in first] == [
        (maker, study.labels[0], 0, 3, wrong) for maker in CONDITIONS
    ]


def test_who_fails_checks_is_left_out(opened: tuple[TestClient, Study, str, Database]) -> None:
    client, study, _, database = opened
    for careful in (True, False):
        person = secrets.token_hex(16)
        state = client.post("/s/study/participants", json={"participant": person}).json()
        for number, names in enumerate(state["choices"]):
            asked = state["checks"].get(str(number))
            chosen = next(name for name in names if (name == asked) == careful) if asked else names[0]
            assert answer(client, person, number, chosen) == 200
    (people,) = Results.read(database, study).observations
    assert (people.subjects, people.finished, people.excluded) == (1, 1, ("P0002",))
    assert sum(one.share.n for one in people.accuracies) == 6 and people.left is None
    assert all(one.subjects is None for one in people.accuracies)
