"""The study's server: who may do what, and that answers are counted once."""

from __future__ import annotations

import csv
import io
import logging
import secrets
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from unlogit.web.guard import Limit, Rates
from unlogit.web.study import server
from unlogit.web.study.server import create_app
from unlogit.web.study.tables import Database, Study

Make = Callable[..., tuple[Study, str]]


class Person:
    """A participant, as the page's script would be."""

    def __init__(self, client: TestClient, name: str = "study") -> None:
        self.client = client
        self.name = name
        self.secret = secrets.token_hex(16)

    def begin(self) -> dict[str, Any]:
        response = self.client.post(f"/s/{self.name}/participants", json={"participant": self.secret})
        assert response.status_code == 200, response.text
        return response.json()  # type: ignore[no-any-return]

    def answer(self, trial: int, chosen: str = "left", key: str | None = None, **changes: Any) -> Any:
        answer = {
            "participant": self.secret,
            "key": key or secrets.token_hex(16),
            "trial": trial,
            "chosen": chosen,
            "milliseconds": 900 + trial,
            "shows": 1,
        }
        return self.client.post(f"/s/{self.name}/answers", json=answer | changes)


@pytest.fixture
def opened(tmp_path: Path, make_study: Make) -> Iterator[tuple[TestClient, str]]:
    """A client of a study of 8 images and 2 checks, and the researcher's token."""
    path = str(tmp_path / "study.sqlite")
    _, token = make_study(path, checks=2)
    with TestClient(create_app(Database(path))) as client:  # Within it, one event loop serves all requests.
        yield client, token


def votes(client: TestClient, token: str, name: str = "study") -> list[dict[str, str]]:
    response = client.get(f"/s/{name}/results/votes.csv", headers={"authorization": f"Bearer {token}"})
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(response.text)))


def test_what_is_answered_is_in_the_export(opened: tuple[TestClient, str]) -> None:
    client, token = opened
    person = Person(client)
    state = person.begin()
    assert len(state["trials"]) == 10 and state["answered"] == []
    for trial in range(10):
        assert person.answer(trial, "left" if trial % 3 else "right").json() == {"counted": True}
    assert person.begin()["answered"] == list(range(10))
    rows = votes(client, token)
    assert [int(row["order"]) for row in rows] == list(range(10))
    assert [row["chosen_side"] for row in rows] == ["left" if t % 3 else "right" for t in range(10)]
    assert [row["chosen"] for row in rows] == [row[row["chosen_side"]] for row in rows]
    assert [int(row["milliseconds"]) for row in rows] == [900 + t for t in range(10)]
    assert {row["subject"] for row in rows} == {"P0001"}
    assert sum(int(row["attention_check"]) for row in rows) == 2


def test_images_are_those_of_the_recorded_trial(tmp_path: Path, make_study: Make) -> None:
    path = str(tmp_path / "study.sqlite")
    _, token = make_study(path, checks=1)
    client = TestClient(create_app(Database(path)))
    person = Person(client)
    state = person.begin()

    def pixels(address: str) -> np.ndarray:
        response = client.get(f"/s/study/pictures/{address}.png")
        assert response.headers["content-type"] == "image/png" and "immutable" in response.headers["cache-control"]
        return np.asarray(Image.open(io.BytesIO(response.content))).astype(float)

    for trial in range(len(state["trials"])):
        person.answer(trial)
    for row in votes(client, token):
        reference, left, right = map(pixels, state["trials"][int(row["order"])])
        closer = "left" if np.abs(left - reference).mean() < np.abs(right - reference).mean() else "right"
        assert row[closer] == ("original" if int(row["attention_check"]) else "near")


def test_the_same_answer_sent_again_counts_once(opened: tuple[TestClient, str]) -> None:
    client, token = opened
    person = Person(client)
    person.begin()
    key = secrets.token_hex(16)
    assert person.answer(3, "right", key).json() == {"counted": True}
    assert person.answer(3, "right", key).json() == {"counted": False}
    assert person.answer(3, "left").status_code == 409
    assert [(row["order"], row["chosen_side"]) for row in votes(client, token)] == [("3", "right")]


def test_begin_sent_again_is_one_participant(opened: tuple[TestClient, str]) -> None:
    client, _ = opened
    first, second = Person(client), Person(client)
    assert first.begin() == first.begin()
    assert second.begin()["trials"] != first.begin()["trials"]


@pytest.mark.parametrize(
    "changes",
    [
        {"trial": 10},
        {"trial": -1},
        {"chosen": "both"},
        {"milliseconds": -5},
        {"milliseconds": 1e30},
        {"participant": "x"},
        {"key": "' OR 1=1 --"},
    ],
)
def test_what_is_no_answer_is_refused(opened: tuple[TestClient, str], changes: dict[str, Any]) -> None:
    client, token = opened
    person = Person(client)
    person.begin()
    assert person.answer(**({"trial": 0} | changes)).status_code == 422
    assert votes(client, token) == []


def test_strangers_do_not_answer(opened: tuple[TestClient, str]) -> None:
    client, token = opened
    assert Person(client).answer(0).status_code == 404
    assert votes(client, token) == []


def test_results_need_the_token(opened: tuple[TestClient, str]) -> None:
    client, token = opened
    for path in ("results", *(f"results/{name}" for name in server.exports.EXPORTS["comparison"])):
        assert client.get(f"/s/study/{path}").status_code == 401
        for wrong in ("", "x", token[:-1], token + "x", "é"):
            headers = {"authorization": f"Bearer {wrong}".encode()}
            assert client.get(f"/s/study/{path}", headers=headers).status_code in (401, 429)
    app_of_another_address = TestClient(client.app, client=("10.0.0.9", 1))
    for name in server.exports.EXPORTS["comparison"]:
        response = app_of_another_address.get(f"/s/study/results/{name}", headers={"authorization": f"Bearer {token}"})
        assert response.status_code == 200 and "attachment" in response.headers["content-disposition"]


def test_token_of_one_study_opens_no_other(tmp_path: Path, make_study: Make) -> None:
    path = str(tmp_path / "study.sqlite")
    tokens = {name: make_study(path, checks=0, name=name)[1] for name in ("one", "two")}
    client = TestClient(create_app(Database(path)))
    for study in tokens:
        for name, token in tokens.items():
            response = client.get(f"/s/{study}/results/votes.csv", headers={"authorization": f"Bearer {token}"})
            assert response.status_code == (200 if study == name else 401)
    person = Person(client, "one")
    address = person.begin()["trials"][0][0]
    assert client.get(f"/s/two/pictures/{address}.png").status_code == 404
    assert client.post("/s/two/answers", json={}).status_code == 422
    person.name = "two"
    assert person.answer(0).status_code == 404


def test_results_page_opens_with_the_token_and_keeps_it_from_scripts(opened: tuple[TestClient, str]) -> None:
    client, token = opened
    assert client.post("/s/study/results", data={"token": "wrong"}).status_code == 401
    response = client.post("/s/study/results", data={"token": token}, follow_redirects=False)
    assert response.status_code == 303
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "path=/s/study/results" in cookie
    page = client.get("/s/study/results")
    assert page.status_code == 200 and "no answers yet" in page.text and token not in page.text


def test_tokens_cannot_be_tried_for_long(opened: tuple[TestClient, str]) -> None:
    client, _ = opened
    codes = [client.post("/s/study/results", data={"token": str(n)}).status_code for n in range(15)]
    assert codes[:10] == [401] * 10 and codes[-1] == 429


def test_every_response_is_guarded(opened: tuple[TestClient, str]) -> None:
    client, _ = opened
    for path in ("/s/study", "/s/none", "/assets/study.js", "/assets/none", "/s/study/results", "/"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


def test_no_page_calls_out(opened: tuple[TestClient, str]) -> None:
    client, token = opened
    client.post("/s/study/results", data={"token": token})
    for path in ("/s/study", "/s/study/results", "/assets/study.css", "/assets/study.js", "/assets/results.css"):
        text = client.get(path).text
        assert "https://" not in text and "http://" not in text and 'src="//' not in text


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../server.py",
        "/assets/%2e%2e%2fserver.py",
        "/assets/..%5cserver.py",
        "/s/../../etc/passwd",
        "/s/study/pictures/../../../../etc/passwd.png",
        "/s/study/pictures/%2fetc%2fpasswd.png",
        "/s/study/results/%2fetc%2fpasswd",
        "/docs",
        "/openapi.json",
    ],
)
def test_no_path_from_outside_is_opened(opened: tuple[TestClient, str], path: str) -> None:
    client, token = opened
    assert client.get(path, headers={"authorization": f"Bearer {token}"}).status_code == 404


def test_long_bodies_are_refused(opened: tuple[TestClient, str]) -> None:
    client, _ = opened
    for path in ("/s/study/participants", "/s/study/answers", "/s/study/results"):
        assert client.post(path, content=b"x" * (server.BODY_BYTES + 1)).status_code == 413
        chunks = (b"x" * 1000 for _ in range(20))
        assert client.post(path, content=chunks).status_code == 413


def test_rates_let_a_burst_through_and_fill_again() -> None:
    moment = 0.0
    rates = Rates(Limit(burst=3, rate=2), clock=lambda: moment)
    for _ in range(3):
        rates.take("a")
    with pytest.raises(server.HTTPException) as refused:
        rates.take("a")
    assert refused.value.status_code == 429 and refused.value.headers == {"retry-after": "1"}
    rates.take("b")
    moment = 0.5
    rates.take("a")


def test_participants_are_limited_each(tmp_path: Path, make_study: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ANSWERING", Limit(burst=3, rate=0.001))
    path = str(tmp_path / "study.sqlite")
    make_study(path)
    client = TestClient(create_app(Database(path)))
    person, other = Person(client), Person(client)
    person.begin()
    other.begin()
    assert [person.answer(n).status_code for n in range(5)] == [200, 200, 200, 429, 429]
    assert other.answer(0).status_code == 200


def test_no_secret_is_kept_or_logged(tmp_path: Path, make_study: Make, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "study.sqlite"
    caplog.set_level(logging.DEBUG)
    _, token = make_study(str(path), checks=0)
    client = TestClient(create_app(Database(str(path))))
    person = Person(client)
    person.begin()
    person.answer(0)
    client.post("/s/study/results", data={"token": token})
    client.get("/s/study/results/votes.csv")
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("study.sqlite*"))
    for secret in (token, person.secret):
        assert secret not in caplog.text
        assert secret.encode() not in kept


def test_two_afc_layout(tmp_path: Path, make_study: Make) -> None:
    path = str(tmp_path / "study.sqlite")
    study, token = make_study(path, checks=0, trials=5)
    client = TestClient(create_app(Database(path)))
    for chosen in ("left", "left", "right"):
        person = Person(client)
        for trial, _ in enumerate(person.begin()["trials"]):
            person.answer(trial, chosen)
    response = client.get("/s/study/results/2afc.zip", headers={"authorization": f"Bearer {token}"})
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    far: dict[int, list[bool]] = {}
    for row in votes(client, token):
        far.setdefault(int(row["place"]), []).append(row["chosen"] == "far")
    assert len(far) > 5 or len(far) == study.pictures
    folder = "study-2afc/near-far"
    expected = {f"{folder}/{part}/{place:06}.png" for part in ("ref", "p0", "p1") for place in far}
    assert set(archive.namelist()) == expected | {f"{folder}/judge/{place:06}.npy" for place in far}
    for place, chose in far.items():
        judge = np.load(io.BytesIO(archive.read(f"{folder}/judge/{place:06}.npy")))
        assert judge.dtype == np.float32 and judge.shape == (1,)
        np.testing.assert_allclose(judge[0], sum(chose) / len(chose), rtol=1e-6)
        reference, first, second = (
            np.asarray(Image.open(io.BytesIO(archive.read(f"{folder}/{part}/{place:06}.png")))).astype(float)
            for part in ("ref", "p0", "p1")
        )
        assert np.abs(first - reference).mean() < np.abs(second - reference).mean()


def test_two_afc_folders_differ_where_names_differ_in_punctuation_alone(tmp_path: Path, make_study: Make) -> None:
    path = str(tmp_path / "study.sqlite")
    pairs = (("a b", "c"), ("a_b", "c"), ("A/B", "c"), ("a b-c", "d"), ("a b", "c-d"))
    _, token = make_study(path, checks=0, trials=40, pairs=pairs)
    client = TestClient(create_app(Database(path)))
    person = Person(client)
    for trial, _ in enumerate(person.begin()["trials"]):
        person.answer(trial, "left")
    content = client.get("/s/study/results/2afc.zip", headers={"authorization": f"Bearer {token}"}).content
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert len({name.casefold() for name in names}) == len(names) == 40 * 4
    assert {name.split("/")[1] for name in names} == {"a_b-c", "a_b-c-2", "A_B-c-3", "a_b-c-d", "a_b-c-d-2"}


def test_one_secret_in_two_studies_is_two_participants(tmp_path: Path, make_study: Make) -> None:
    path = str(tmp_path / "study.sqlite")
    for name in ("one", "two"):
        make_study(path, name=name)
    client = TestClient(create_app(Database(path)))
    person = Person(client, "one")
    person.begin()
    assert person.answer(0).json() == {"counted": True}
    person.name = "two"
    assert person.begin()["answered"] == []


def test_what_is_not_there_is_not_found(database: str, make_study: Make) -> None:
    make_study(database)
    client = TestClient(create_app(Database(database)))
    for path in ("/s/%00", "/s/study/pictures/%00.png", f"/s/study/pictures/{'0' * 24}.png"):
        assert client.get(path).status_code == 404
    for path in ("/s/none", "/s/none/results", "/s/none/results/votes.csv", "/s/none/pictures/a.png"):
        assert client.get(path).status_code == 404


def test_no_two_trials_share_an_address_so_that_checks_cannot_be_recognised(tmp_path: Path, make_study: Make) -> None:
    path = str(tmp_path / "study.sqlite")
    make_study(path, checks=8)
    client = TestClient(create_app(Database(path)))
    people = [Person(client), Person(client)]
    shown = [address for person in people for trial in person.begin()["trials"] for address in trial]
    assert len(shown) == len(set(shown)) == 2 * 16 * 3
    assert people[0].begin()["trials"][0] == shown[:3]  # The same after a reload.
    for forged in (shown[0][:-1] + "x", shown[0][:-4] + "0000", f"9{shown[0]}", "1-0-0-" + "0" * 24):
        assert client.get(f"/s/study/pictures/{forged}.png").status_code == 404
    again = TestClient(create_app(Database(path)))  # As after a restart.
    assert all(again.get(f"/s/study/pictures/{address}.png").status_code == 200 for address in shown)


def test_formulas_in_names_are_quoted_in_every_csv(tmp_path: Path, make_study: Make) -> None:
    path = str(tmp_path / "study.sqlite")
    _, token = make_study(path, pairs=(("=cmd|' /C calc'!A0", "@far"),), checks=0)
    client = TestClient(create_app(Database(path)))
    person = Person(client)
    person.begin()
    person.answer(0)
    for name in ("votes.csv", "images.csv", "table1.csv"):
        text = client.get(f"/s/study/results/{name}", headers={"authorization": f"Bearer {token}"}).text
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert "'@far" in cells and not [cell for cell in cells if cell.startswith(("=", "@", "+"))]


def test_who_forges_addresses_is_limited_all_the_same(
    tmp_path: Path, make_study: Make, serve: Callable[..., Any]
) -> None:
    path = str(tmp_path / "study.sqlite")
    make_study(path)

    def tried(url: str, host: str) -> list[int]:
        return [
            httpx.post(
                f"{url}/s/study/results",
                data={"token": "wrong"},
                headers={"x-forwarded-for": f"198.51.100.{n}", "host": host},
                timeout=60,
            ).status_code
            for n in range(14)
        ]

    plain = serve(path)
    assert tried(plain.url, "localhost")[-1] == 429
    assert set(tried(plain.url, "evil.example")) == {421}
    behind = serve(path, "--trusted-proxy", "127.0.0.1", "--public-host", "study.example.org")
    assert set(tried(behind.url, "study.example.org")) == {401}
