"""The study in a real browser: taken with keys, layers and interruptions; and what the researcher sees."""

from __future__ import annotations

import csv
import io
import re
import secrets
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

WAIT = 30_000


@pytest.fixture
def context(chromium: Any) -> Any:
    """A browser that knows nothing yet; fails the test where a page logs an error or calls out."""
    context = chromium.new_context(viewport={"width": 1200, "height": 800})
    faults: list[str] = []
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    context.on("request", lambda sent: faults.append(sent.url) if "//127.0.0.1" not in sent.url else None)
    yield context
    context.close()
    assert not faults


@dataclass(frozen=True)
class Open:
    """A study of ten trials, two of which are attention checks, on a server."""

    server: Any
    name: str
    token: str

    @property
    def url(self) -> str:
        return f"{self.server.url}/s/{self.name}"

    def votes(self, name: str = "votes.csv") -> list[dict[str, str]]:
        request = urllib.request.Request(
            f"{self.url}/results/{name}", headers={"authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request) as response:
            return list(csv.DictReader(io.StringIO(response.read().decode())))


@pytest.fixture(scope="module")
def hosted(
    tmp_path_factory: pytest.TempPathFactory,
    make_study: Callable[..., Any],
    make_naming_study: Callable[..., Any],
    serve: Callable[[str], Any],
) -> Callable[..., Open]:
    """Make one more study on the module's server, of naming trials where asked to."""
    folder = tmp_path_factory.mktemp("hosted")
    database = str(folder / "study.sqlite")
    consent = folder / "consent.txt"
    consent.write_text("Your answers are kept under a number.\n\nYou can stop at any time.\n")
    servers: list[Any] = []

    def make(naming: bool = False) -> Open:
        name = f"study-{secrets.token_hex(4)}"
        thanks = "Thank you.\nYour code is 4711."
        options = {"places": 8, "checks": 2, "name": name, "consent": consent, "thanks": thanks}
        _, token = (make_naming_study if naming else make_study)(database, **options)
        if not servers:
            servers.append(serve(database))
        return Open(servers[0], name, token)

    return make


@pytest.fixture
def study(hosted: Callable[..., Open]) -> Open:
    return hosted()


@pytest.fixture
def naming_study(hosted: Callable[..., Open]) -> Open:
    return hosted(naming=True)


def begin(page: Any, study: Open) -> None:
    page.goto(study.url)
    page.get_by_role("button", name="I agree, begin").click()
    awaited(page, 0)


def awaited(page: Any, trial: int) -> None:
    """Wait until the trial's images are on the screen and a choice is asked for."""
    page.locator(f"body[data-awaiting='{trial}']").wait_for(timeout=WAIT)


def unsent(page: Any, count: int) -> None:
    """Wait until the browser keeps that many answers which the server has not acknowledged."""
    for _ in range(WAIT // 50):
        if page.evaluate("Object.keys(localStorage).filter((key) => key.includes('/answer/')).length") == count:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never {count} unsent")


def done(page: Any) -> None:
    page.locator("#end").wait_for(timeout=WAIT)


def test_ten_trials_with_keys_and_reloads_in_the_middle(context: Any, study: Open) -> None:
    page = context.new_page()
    page.goto(study.url)
    assert "kept under a number" in page.locator(".consent").inner_text()
    assert study.votes() == []
    begin(page, study)
    keys = ["ArrowLeft", "1", "ArrowRight", "2", "ArrowLeft", "ArrowRight", "1", "2", "1", "ArrowRight"]
    for trial, key in enumerate(keys):
        if trial == 3:
            page.reload()  # The answer before may not have arrived.
        awaited(page, trial)
        if trial == 6:
            page.reload()
            awaited(page, trial)
        assert page.locator("#count").inner_text() == f"{trial + 1} of 10"
        page.keyboard.press(key)
    done(page)
    assert "4711" in page.locator("#thanks").inner_text()
    rows = study.votes()
    assert [int(row["order"]) for row in rows] == list(range(10))
    assert [row["chosen_side"] for row in rows] == ["left" if k in ("1", "ArrowLeft") else "right" for k in keys]
    shows = [int(row["shows"]) for row in rows]
    assert shows.pop(3) in (1, 2)  # A slow reload comes after it is on the screen.
    assert shows == [1] * 5 + [2] + [1] * 3
    assert all(0 <= int(row["milliseconds"]) < WAIT for row in rows)
    # Back at the end, not at the beginning, and nothing is counted again.
    page.reload()
    done(page)
    assert len(study.votes()) == 10


def test_a_participant_with_an_id_goes_on_elsewhere_and_looks_away(chromium: Any, context: Any, study: Open) -> None:
    link = f"{study.url}?PROLIFIC_PID=abc&SESSION_ID=7"
    page = context.new_page()
    page.goto(link)
    page.get_by_role("button", name="I agree, begin").click()
    awaited(page, 0)
    page.evaluate("dispatchEvent(new Event('blur')); dispatchEvent(new Event('focus'))")
    page.keyboard.press("1")
    awaited(page, 1)
    unsent(page, 0)
    other = chromium.new_context(viewport={"width": 390, "height": 844})
    elsewhere = other.new_page()
    elsewhere.goto(link)
    elsewhere.get_by_role("button", name="I agree, begin").click()
    awaited(elsewhere, 1)
    other.close()
    (row,) = study.votes("participants.csv")
    assert (row["id"], row["SESSION_ID"], row["entries"], row["width"]) == ("abc", "7", "2", "390")
    assert [seen["event"] for seen in study.votes("attention.csv")][-2:] == ["blur", "focus"]


def test_the_right_image_is_chosen_by_a_click(context: Any, study: Open) -> None:
    page = context.new_page()
    begin(page, study)
    awaited(page, 0)
    page.get_by_role("button", name="Right image").click()
    awaited(page, 1)
    page.get_by_role("button", name="Left image").click()
    awaited(page, 2)
    assert [row["chosen_side"] for row in study.votes()] == ["right", "left"]


def test_keys_held_down_or_pressed_in_haste_answer_one_trial_each(context: Any, study: Open) -> None:
    page = context.new_page()
    begin(page, study)
    awaited(page, 0)
    for _ in range(5):
        page.keyboard.down("ArrowLeft")  # Repeats after the first, until it is up.
    page.keyboard.up("ArrowLeft")
    awaited(page, 1)
    assert [row["order"] for row in study.votes()] == ["0"]


def test_a_lost_connection_loses_nothing(context: Any, study: Open) -> None:
    page = context.new_page()
    begin(page, study)
    awaited(page, 0)
    context.set_offline(True)
    page.keyboard.press("1")
    awaited(page, 1)  # It was loaded before.
    page.keyboard.press("2")
    page.locator("#notice").wait_for(timeout=WAIT)
    assert study.votes() == []
    context.set_offline(False)
    awaited(page, 2)
    for trial in range(2, 10):
        awaited(page, trial)
        page.keyboard.press("1")
    done(page)
    rows = study.votes()
    assert [(row["order"], row["chosen_side"]) for row in rows] == [
        (str(trial), "right" if trial == 1 else "left") for trial in range(10)
    ]


def test_answers_survive_a_page_closed_while_the_server_is_away(context: Any, study: Open) -> None:
    page = context.new_page()
    begin(page, study)
    awaited(page, 0)
    page.keyboard.press("1")
    awaited(page, 1)
    unsent(page, 0)
    study.server.kill()
    page.keyboard.press("2")
    unsent(page, 1)
    page.close()
    study.server.start()
    page = context.new_page()
    page.goto(study.url)
    awaited(page, 2)
    unsent(page, 0)
    assert [row["chosen_side"] for row in study.votes()] == ["left", "right"]


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844), (844, 390), (320, 568)])
def test_a_trial_fits_the_window(context: Any, study: Open, width: int, height: int) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": height})
    begin(page, study)
    awaited(page, 0)
    for picture in page.locator("#stage img").all():
        box = picture.bounding_box()
        assert box["x"] >= 0 and box["y"] >= 0
        assert box["x"] + box["width"] <= width and box["y"] + box["height"] <= height
        assert box["width"] >= 120
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_results_page_needs_the_token_and_tells_the_counts(context: Any, study: Open) -> None:
    page = context.new_page()
    begin(page, study)
    for trial in range(10):
        awaited(page, trial)
        page.keyboard.press("1")
    done(page)
    page.goto(f"{study.url}/results")
    page.get_by_label("Researcher’s token").fill("not it")
    page.get_by_role("button").click()
    assert page.get_by_role("alert").is_visible()
    page.get_by_label("Researcher’s token").fill(study.token)
    page.get_by_role("button").click()
    page.get_by_role("heading", name="Preference").wait_for()
    assert study.token not in page.url
    with page.expect_download() as download:
        page.get_by_role("link", name="votes.csv").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert len(rows) == 10
    # Always the left one fails one of two attention checks, so that this person does not count.
    assert re.search(r"0 finished, 1 more left out", page.locator(".facts").inner_text())


def test_names_are_chosen_by_letter_click_and_tab(context: Any, naming_study: Open) -> None:
    page = context.new_page()
    begin(page, naming_study)
    shown: list[tuple[str | None, list[str]]] = []
    for trial in range(10):
        awaited(page, trial)
        names = page.locator(".name span").all_inner_texts()
        check = page.locator("#check")
        asked = check.locator("b").inner_text() if check.is_visible() else None
        assert page.locator("#stage img").is_visible() == (asked is None)
        wanted = 5 if asked is None else names.index(asked)
        shown.append((asked, names))
        if trial == 4:
            page.reload()
            awaited(page, trial)
        if trial % 3 == 0:
            page.keyboard.press("zabcdefghijklmnop"[0])  # No name has that letter.
            page.keyboard.press("abcdefghijklmnop"[wanted])
        elif trial % 3 == 1:
            page.locator(".name").nth(wanted).click()
        else:
            page.locator(".name").nth(wanted).focus()
            page.keyboard.press("Enter")
    done(page)
    rows = naming_study.votes()
    assert [row["chosen"] for row in rows] == [asked or names[5] for asked, names in shown]
    checks = [row for row in rows if row["attention_check"] == "1"]
    assert len(checks) == 2 and all(row["correct"] == "1" for row in checks)
    assert any("<b>bold</b>" in names for _, names in shown)
    page.goto(f"{naming_study.url}/results")
    page.get_by_label("Researcher’s token").fill(naming_study.token)
    page.get_by_role("button").click()
    page.get_by_role("heading", name="Accuracy").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (390, 844), (844, 390), (320, 568)])
def test_a_naming_trial_fits_the_window(context: Any, naming_study: Open, width: int, height: int) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": height})
    begin(page, naming_study)
    for trial in range(2):
        awaited(page, trial)
        for element in page.locator("#stage img:visible, #check:visible, .name").all():
            box = element.bounding_box()
            assert box["x"] >= 0 and box["y"] >= 0
            assert box["x"] + box["width"] <= width and box["y"] + box["height"] <= height
            assert box["height"] >= 30
        page.locator(".name").first.click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
