"""Participants sent by a panel: ids and variables of the link, the way back, what is logged, and simulated ones."""

from __future__ import annotations

import csv
import io
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from unlogit import cli
from unlogit.errors import UnlogitError
from unlogit.web.study.create import CreateConfig, fill_redirect
from unlogit.web.study.design import Design
from unlogit.web.study.results import Results
from unlogit.web.study.server import create_app
from unlogit.web.study.tables import Database, Study

Make = Callable[..., tuple[Study, str]]
REDIRECT = "https://panel.example/done?cc=4711&pid={PROLIFIC_PID}&s={SESSION_ID}"
LINK = {"PROLIFIC_PID": "5f & ü", "SESSION_ID": "s/1", "unknown": "x"}


class Browser:
    """A browser with a secret of its own, as the page's script keeps it."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.secret = secrets.token_hex(16)

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(f"/s/study/{path}", json={"participant": self.secret, **body})

    def begin(self, parameters: dict[str, str], **screen: Any) -> Any:
        response = self.post("participants", parameters=parameters, screen=screen)
        assert response.status_code == 200, response.text
        return response.json()

    def answer(self, trial: int) -> Any:
        key = secrets.token_hex(16)
        return self.post("answers", key=key, trial=trial, chosen="left", milliseconds=900, shows=1)


@pytest.fixture
def opened(tmp_path: Path, make_study: Make) -> tuple[TestClient, str]:
    path = str(tmp_path / "study.sqlite")
    _, token = make_study(path, checks=0, trials=2, redirect=REDIRECT)
    return TestClient(create_app(Database(path))), token


def export(opened: tuple[TestClient, str], name: str) -> list[dict[str, str]]:
    client, token = opened
    response = client.get(f"/s/study/results/{name}", headers={"authorization": f"Bearer {token}"})
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(response.text)))


def test_the_same_id_goes_on_from_another_browser(opened: tuple[TestClient, str]) -> None:
    first, second, third = (Browser(opened[0]) for _ in range(3))
    state = first.begin(LINK, width=1200, height=800, ratio=2)
    assert first.answer(0).json() == {"counted": True}
    again = second.begin(LINK, width=390, height=844, ratio=3)
    assert again == {"trials": state["trials"], "answered": [0]}
    assert second.answer(0).status_code == 409 and second.answer(1).json() == {"counted": True}
    assert first.begin(LINK)["answered"] == [0, 1]  # The first browser is not shut out.
    assert third.begin({"PROLIFIC_PID": "other"})["trials"] != state["trials"]
    rows = export(opened, "participants.csv")
    assert [(row["subject"], row["id"], row["SESSION_ID"], row["answered"], row["entries"]) for row in rows] == [
        ("P0001", LINK["PROLIFIC_PID"], "s/1", "2", "3"),
        ("P0002", "other", "", "0", "1"),
    ]
    assert "unknown" not in rows[0] and rows[0]["STUDY_ID"] == ""


def test_a_secret_is_no_key_to_another_id(opened: tuple[TestClient, str]) -> None:
    browser = Browser(opened[0])
    browser.begin({"PROLIFIC_PID": "one"})
    response = browser.post("participants", parameters={"PROLIFIC_PID": "two"})
    assert response.status_code == 409


def test_the_screen_of_the_last_entry_is_exported(opened: tuple[TestClient, str]) -> None:
    browser = Browser(opened[0])
    browser.begin({}, width=1200, height=800, ratio=1)
    browser.begin({}, width=390, height=844, ratio=2.5)
    (row,) = export(opened, "participants.csv")
    assert (row["width"], row["height"], row["pixel_ratio"], row["id"]) == ("390", "844", "2.5", "")
    for screen in ({"width": -1}, {"ratio": 1e9}, {"height": "x"}):
        assert browser.post("participants", screen=screen).status_code == 422


def test_the_way_back_is_given_at_the_end_alone(opened: tuple[TestClient, str]) -> None:
    browser = Browser(opened[0])
    assert "4711" not in str(browser.begin(LINK))
    browser.answer(0)
    assert browser.post("end").status_code == 409
    browser.answer(1)
    expected = "https://panel.example/done?cc=4711&pid=5f%20%26%20%C3%BC&s=s%2F1"
    assert browser.post("end").json() == {"redirect": expected}


def test_values_of_a_link_cannot_change_the_address() -> None:
    for value in ("@evil.example/", "&cc=1", "\r\nx", "../", "{SESSION_ID}", "%2F"):
        filled = fill_redirect(REDIRECT, {"PROLIFIC_PID": value, "SESSION_ID": "1"})
        assert filled.startswith("https://panel.example/done?cc=4711&pid=") and filled.endswith("&s=1")
        assert filled.count("&") == 2 and not set("@{}\r\n ") & set(filled)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"redirect": "http://panel.example/"}, "https://HOST"),
        ({"redirect": "javascript:alert(1)"}, "https://HOST"),
        ({"redirect": "https://{PROLIFIC_PID}/"}, "https://HOST"),
        ({"redirect": "https://user@panel.example/"}, "https://HOST"),
        ({"redirect": "https:///path"}, "https://HOST"),
        ({"redirect": "https://panel.example/{PROLIFIC}"}, "Did you mean 'PROLIFIC_PID'"),
        ({"variables": ("a b",)}, "letters, digits"),
    ],
)
def test_mistakes_in_the_link_s_options(option: dict[str, Any], says: str) -> None:
    with pytest.raises(UnlogitError, match=says):
        CreateConfig(inverters=("a", "b"), images="scenes:test", **option)


def test_focus_is_logged_once_each(opened: tuple[TestClient, str]) -> None:
    browser = Browser(opened[0])
    assert browser.post("attention", kind="blur", moment=1, trial=0).status_code == 404
    browser.begin({})
    for _ in range(2):  # Sent again.
        assert browser.post("attention", kind="blur", moment=1_700_000_000_000, trial=0).status_code == 200
    browser.post("attention", kind="focus", moment=1_700_000_004_000, trial=-1)
    assert browser.post("attention", kind="resize", moment=1, trial=0).status_code == 422
    assert [tuple(row.values()) for row in export(opened, "attention.csv")] == [
        ("P0001", "1700000000000", "blur", "0"),
        ("P0001", "1700000004000", "focus", "-1"),
    ]
    assert export(opened, "participants.csv")[0]["blurs"] == "1"


def test_the_front_page_says_what_the_server_is(opened: tuple[TestClient, str]) -> None:
    page = opened[0].get("/")
    assert page.status_code == 200 and "hosts studies" in page.text and "/s/study" not in page.text


def test_simulated_participants_are_marked_and_left_out(
    tmp_path: Path, make_study: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "study.sqlite")
    study, token = make_study(path, places=32, checks=4)
    command = ["study", "simulate", "--database", path, "--participants", "30", "--preference", "0.8"]
    for _ in range(2):  # The second time replaces the first.
        assert cli.main(command) == 0
    assert "30 simulated participants gave 1080 answers" in capsys.readouterr().out
    database = Database(path)
    plain, tried = Results.read(database, study), Results.read(database, study, simulated=True)
    assert [seen.observer for seen in plain.observations] == ["people"] and not plain.observations[0].subjects
    simulated = tried.observations[1]
    assert (simulated.observer, simulated.finished, plain.simulated) == ("simulated", simulated.subjects, 30)
    (preference,) = simulated.preferences
    assert preference.share.low < 0.8 < preference.share.high + 0.03
    assert tried.observations[0] == plain.observations[0]
    client = TestClient(create_app(database))
    rows = export((client, token), "votes.csv")
    assert {(row["simulated"], row["automated"], row["subject"][0]) for row in rows} == {("1", "0", "S")}
    Browser(client).begin({})  # A person takes the first number all the same.
    assert export((client, token), "participants.csv")[0]["subject"] == "P0001"
    assert cli.main(["study", "results", "--database", path]) == 0
    assert "| people |\n" in capsys.readouterr().out
    assert cli.main(["study", "results", "--database", path, "--simulated"]) == 0
    assert "| people | simulated |\n" in capsys.readouterr().out


def test_a_database_made_before_naming_trials_opens_and_goes_on(tmp_path: Path) -> None:
    path, secret = str(tmp_path / "study.sqlite"), "0123456789abcdef" * 2
    with sqlite3.connect(path) as connection:  # Written by commit a4829b1: one participant, two answers of four.
        connection.executescript(Path(__file__).with_name("comparison.sql").read_text())
    connection.close()
    database = Database(path)
    study = database.study()
    assert (study.trial, study.conditions, study.choices) == ("comparison", [], [])
    first, second, *_ = Design.of(study).of_participant(0)
    assert [one.trial for one in Results.read(database, study).judgements] == [first, second]
    client = TestClient(create_app(database))
    browser = Browser(client)
    browser.secret = secret
    state = browser.begin({"PROLIFIC_PID": "abc"})
    # The addresses that the browser was given then.
    assert state["trials"][0][0] == "1-0-0-7a731792ddd0bc9ef55644c5" and state["answered"] == [0, 1]
    assert set(state) == {"trials", "answered"}
    assert [browser.answer(trial).status_code for trial in range(4)] == [409, 409, 200, 200]
    token = "LUbDxy42689zjeLTMtfSFhooieqLX7F07p9ApXQlFA8"
    assert [row["order"] for row in export((client, token), "votes.csv")] == ["0", "1", "2", "3"]


def test_a_database_of_the_last_version_is_upgraded_and_keeps_its_answers(tmp_path: Path, make_study: Make) -> None:
    path = str(tmp_path / "study.sqlite")
    study, token = make_study(path, checks=0, trials=2)
    browser = Browser(TestClient(create_app(Database(path))))
    browser.begin({})
    browser.answer(0)
    with sqlite3.connect(path) as connection:
        for statement in (
            *("DROP TABLE unlogit_entry", "DROP TABLE unlogit_attention", "DROP INDEX unlogit_participant_external"),
            *(f"ALTER TABLE unlogit_participant DROP COLUMN {name}" for name in ("external", "variables")),
            *(f"ALTER TABLE unlogit_study DROP COLUMN {name}" for name in ("identity", "variables", "redirect")),
        ):
            connection.execute(statement)
    connection.close()
    database = Database(path)
    upgraded = database.study()
    assert (upgraded.name, upgraded.identity, upgraded.redirect) == (study.name, [], "")
    client = TestClient(create_app(database))
    browser.client = client
    assert browser.begin({})["answered"] == [0]
    assert browser.answer(1).status_code == 200 and browser.post("end").json() == {"redirect": ""}
    assert len(export((client, token), "votes.csv")) == 2
    with sqlite3.connect(path) as connection:
        indexes = [row[1] for row in connection.execute("PRAGMA index_list(unlogit_participant)")]
    connection.close()
    assert "unlogit_participant_external" in indexes
    Database(path).check()  # Nothing is left to add.
