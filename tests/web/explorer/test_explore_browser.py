"""The page in a real browser: an image is dropped in, sliders are moved, a link opens the same state."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

WAIT = 60_000
DROP = """(input, bytes) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "mine.png", { type: "image/png" }));
  input.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
def page(chromium: Any, served: Any) -> Any:
    """The page in a browser that knows nothing yet; fails the test where it logs an error or calls out."""
    context = chromium.new_context(viewport={"width": 1300, "height": 900}, accept_downloads=True)
    faults: list[str] = []
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    inside = (f"{served.url}/", "data:", "blob:")
    context.on("request", lambda sent: None if sent.url.startswith(inside) else faults.append(sent.url))
    page = context.new_page()
    page.set_default_timeout(WAIT)
    yield page
    context.close()
    assert not faults


def made(page: Any, name: str = "first") -> str:
    """The reconstruction that is shown, as a data URI."""
    shown = page.locator(f"#stage [data-inverter='{name}'] .made")
    shown.wait_for()
    return str(shown.get_attribute("src"))


def changed(page: Any, before: str, name: str = "first") -> str:
    """Wait until another reconstruction is shown."""
    page.wait_for_function(
        "([name, src]) => { const made = document.querySelector(`#stage [data-inverter='${name}'] .made`);"
        " return made && made.src !== src; }",
        arg=[name, before],
    )
    return made(page, name)


def slide(page: Any, name: str, value: float) -> None:
    page.locator(f"#{name} input[type=range]").fill(str(value))


def query(page: Any) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_drop_an_image_move_a_slider_share_the_link(page: Any, served: Any, chromium: Any) -> None:
    page.goto(served.url)
    before = made(page)
    assert page.locator("#image [aria-pressed='true']").get_attribute("data-address") == "photo/coffee"
    assert "classifiers see the image at 32 px" in page.locator("#stage").inner_text()
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)).save(buffer, "PNG")
    page.locator("#image .drop input").evaluate(DROP, list(buffer.getvalue()))
    dropped = changed(page, before)
    page.wait_for_url("**image=dropped**")
    page.get_by_role("tab", name="Logits").click()
    slide(page, "scale", 2.0)
    scaled = changed(page, dropped)
    page.wait_for_url("**scale=2.0**")
    slide(page, "shift", 1.5)
    shifted = changed(page, scaled)
    page.wait_for_url("**shift=1.5**")
    page.locator("#resample").click()
    final = changed(page, shifted)
    page.wait_for_url("**seed=**")
    others = {name: made(page, name) for name in ("second", "layer")}
    seed = query(page)["seed"][0]

    # The same link in another browser is the same state: its controls, and every image to the bit.
    context = chromium.new_context()
    other = context.new_page()
    other.set_default_timeout(WAIT)
    other.goto(page.url)
    assert made(other) == final
    assert {name: made(other, name) for name in others} == others
    other.get_by_role("tab", name="Logits").click()
    assert other.locator("#scale input[type=range]").input_value() == "2"
    assert other.locator("#shift input[type=range]").input_value() == "1.5"
    assert other.locator("#seed input").input_value() == seed
    # And going on from there, it does not fall back to what it does not show.
    slide(other, "noise", 0.5)
    changed(other, final)
    other.wait_for_url("**noise=0.5**")
    assert {"scale", "shift", "seed", "image"} <= query(other).keys()
    context.close()


def test_classes_attack_and_the_way_to_another_image(page: Any, served: Any) -> None:
    page.goto(f"{served.url}/?image=photo/cat")
    before = made(page)
    page.get_by_role("tab", name="Directions").click()
    page.locator("#class0 input").click()
    option = page.get_by_role("option").nth(2)
    chosen = option.inner_text().lstrip("✓ \n")
    option.click()
    page.wait_for_function("name => document.querySelector('#class0 input').value === name", arg=chosen)
    slide(page, "amount0", 6)
    moved = changed(page, before)
    page.wait_for_url("**class=**")
    assert page.locator("#evidence .mark").count() > 0
    # The control replaces that direction by a random one, and image arithmetic adds to it.
    page.get_by_label("Random, same length (control)").check()
    moved = changed(page, moved)
    page.wait_for_url("**control=random**")
    page.locator("#plus [data-address='photo/pizza']").click()
    page.wait_for_url("**plus=photo**")
    page.locator("#minus [data-address='set/0']").click()
    moved = changed(page, moved)
    page.wait_for_url("**minus=set**")
    page.locator("#minus [data-address='set/0']").click()
    moved = changed(page, moved)
    page.wait_for_function("() => !location.search.includes('minus')")
    page.get_by_role("tab", name="Between").click()
    page.locator("#other [data-address='photo/zebra']").click()
    page.wait_for_url("**other=photo**")
    slide(page, "toward", 0.5)
    between = changed(page, moved)
    page.get_by_role("tab", name="Attack").click()
    page.get_by_label("FGSM").check()
    changed(page, between)
    page.locator("#stage [data-inverter='first'] .inset").wait_for()
    page.locator("#reset").click()
    page.wait_for_function("() => !location.search.includes('attack')")
    assert made(page) == before
    assert query(page) == {"image": ["photo/cat"]}


def test_a_set_s_image_and_downloads(page: Any, served: Any) -> None:
    page.goto(f"{served.url}/?image=photo/cat&scale=1.5")
    before = made(page)
    page.locator("#image [data-address='set/0']").click()
    changed(page, before)
    page.wait_for_url("**image=set**")
    for link, starts in [("Figure (PNG)", b"\x89PNG"), ("Python code", b'"""Made by unlogit explore')]:
        with page.expect_download() as download:
            page.get_by_role("link", name=link).click()
        content = Path(download.value.path()).read_bytes()
        assert content.startswith(starts)
    assert b"decode(0)" in content and b"1.5" in content


def test_mistakes_are_told(page: Any, served: Any) -> None:
    page.goto(f"{served.url}/?shift=99")
    page.get_by_text("shift 99: must be -3 to 3").wait_for()
    page.goto(f"{served.url}/?image=dropped/{'0' * 32}")
    page.get_by_text("drop it in again").wait_for()
    page.goto(served.url)
    made(page)
    page.locator("#image .drop input").evaluate(DROP, list(b"no image"))
    page.get_by_text(re.compile("cannot be read as an image")).wait_for()
    assert page.locator("#stage .made").count() == 3


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844), (320, 568)])
def test_the_page_fits_the_window(page: Any, served: Any, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.goto(f"{served.url}/?image=photo/cat")
    made(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tops = {round(section.bounding_box()["y"]) for section in page.locator("#evidence section").all()}
    assert len(tops) == (1 if width > 1200 else 3)  # All in one row or each in its own: none is orphaned.
    page.evaluate("window.scrollTo(0, 250)")
    page.wait_for_timeout(200)
    box = page.locator("#stage [data-inverter='first'] .made").bounding_box()
    assert 60 <= box["width"] and box["x"] + box["width"] <= width
    if width < 800:  # The images stay in sight while the controls are used.
        assert box["y"] >= 0
