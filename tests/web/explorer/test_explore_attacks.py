"""Visitors who try to break the page: crafted events, images that take for ever, class names that hold code."""

from __future__ import annotations

import io
import json
import os
import signal
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image, features
from torch import Tensor

from unlogit.errors import BrokenImage
from unlogit.images import ImageSource, decode, open_images
from unlogit.images._decoding import MAX_SCANS, count_scans
from unlogit.web.explorer import page as page_module
from unlogit.web.explorer import shown
from unlogit.web.explorer.answer import Explorer
from unlogit.web.explorer.decoding import FORMATS, Decoder
from unlogit.web.explorer.gallery import Gallery
from unlogit.web.explorer.server import create_app, plain_event
from unlogit.web.explorer.state import State
from unlogit.web.guard import HTTPException

JOIN = "/gradio_api/queue/join"


def post(url: str, data: bytes, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def file_object(path: str) -> dict[str, Any]:
    """What Gradio takes for an uploaded file."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def encoded(kind: str, size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan stands there that many times more."""
    data = encoded("JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


# ---- events


@pytest.mark.parametrize(
    "changes",
    [
        {"data": [file_object("PATH")]},
        {"data": ["x", [file_object("PATH")]]},
        {"data": [{"value": file_object("PATH")}]},
        {"data": file_object("PATH")},
        {"data": [[1]]},
        {"data": [], "event_data": file_object("PATH")},
        {"data": [], "session_hash": {"path": "PATH"}},
        {"data": [], "fn_index": [0]},
    ],
)
def test_a_file_object_in_an_event_is_refused_and_copied_nowhere(
    served: Any, tmp_path: Path, changes: dict[str, Any]
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("a file of this machine")
    event = {"fn_index": 0, "session_hash": "abc", "trigger_id": None} | changes
    body = json.dumps(event).replace("PATH", str(secret)).encode()
    for kind in ("application/json", "text/plain"):
        status, _ = post(f"{served.url}{JOIN}", body, **{"content-type": kind})
        assert status == 422
    assert not [file for file in served.files.rglob("*") if file.is_file()]
    with urllib.request.urlopen(served.url, timeout=30) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"[" * 60_000, b'{"data": {}}', b"\xff\xfe"])
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(HTTPException) as refused:
        plain_event(body)
    assert refused.value.status_code == 422


def test_an_event_is_passed_on_with_its_known_fields_alone() -> None:
    event = {"data": [1, 2.5, "x", None, True], "fn_index": 3, "session_hash": "abc", "event_data": {}}
    passed = json.loads(plain_event(json.dumps(event | {"oauth_token": "t", "batched": True}).encode()))
    assert passed == {"data": event["data"], "fn_index": 3, "session_hash": "abc"}


def test_long_events_are_refused(served: Any) -> None:
    assert post(f"{served.url}{JOIN}", json.dumps({"data": ["x" * 70_000]}).encode())[0] == 413


def test_gradio_s_own_check_of_files_is_on(explorer: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the gate: a second wall behind it."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "kept"))
    secret = tmp_path / "secret.txt"
    secret.write_text("a file of this machine")
    app = FastAPI()
    page_module.mount(app, explorer)
    with TestClient(app) as client:
        dependency = next(d for d in client.get("/config").json()["dependencies"] if len(d["inputs"]) > 1)
        data = [file_object(str(secret))] * len(dependency["inputs"])
        event = {"data": data, "fn_index": dependency["id"], "session_hash": "abc"}
        assert client.post(JOIN, json=event).status_code == 200
        told = client.get("/gradio_api/queue/data?session_hash=abc").text
    assert '"success":false' in told
    assert not [file for file in (tmp_path / "kept").rglob("*") if file.is_file()]


# ---- images


def test_scans_are_counted_without_decoding() -> None:
    assert count_scans(encoded("JPEG")) == 1
    assert 5 <= count_scans(encoded("JPEG", progressive=True)) <= 12
    assert count_scans(encoded("PNG")) == 0
    # What a segment or an appended film holds is no scan.
    comment = b"\xff\xfe\x01\x00" + b"\xff\xda" * 127
    plain = encoded("JPEG")
    assert count_scans(plain[:2] + comment + plain[2:] + b"\xff\xda\x00\x02" * 200) == 1


def test_a_jpeg_of_many_scans_is_refused_at_once(served: Any) -> None:
    data = with_scans(20_000)
    with pytest.raises(BrokenImage, match=f"at most {MAX_SCANS}"):
        decode(data, "image")
    began = time.monotonic()
    status, body = post(f"{served.url}/images", data)
    assert status == 415 and b"scans" in body and time.monotonic() - began < 10


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_of_browsers_and_cameras_are_taken(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    assert decode(encoded(kind), "image", formats=FORMATS).shape == (3, 30, 40)


@pytest.mark.parametrize("kind", ["PPM", "TGA", "PCX", "SGI"])
def test_other_formats_are_refused(served: Any, kind: str) -> None:
    data = encoded(kind)
    assert decode(data, "image").shape == (3, 30, 40)
    status, body = post(f"{served.url}/images", data)
    assert status == 415 and b"cannot be read as an image" in body


def test_an_image_that_takes_for_ever_holds_up_nobody() -> None:
    gallery = Gallery([32])
    decoder = gallery.decoder
    decoder.start()
    png = encoded("PNG")
    first = decoder.decode(png)
    stuck = decoder._idle[0]._process
    os.kill(stuck.pid or 0, signal.SIGSTOP)  # As a decoder does that never comes back.
    decoder.seconds = 90.0  # Longer than a start on a busy machine.
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(decoder.decode, png)
        while decoder._idle:
            time.sleep(0.01)
        other = decoder.decode(png)
        assert gallery.views("photo/cat").thumbnail
        assert not waiting.done() and torch.equal(other.by_size[32], first.by_size[32])
        os.kill(stuck.pid or 0, signal.SIGCONT)
        assert waiting.result().thumbnail == first.thumbnail


def test_images_of_a_dataset_are_decoded_in_a_process_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    (tmp_path / "b.png").write_bytes(b"junk")
    gallery = Gallery([32], open_images(f"folder:{tmp_path}"))
    assert gallery.source is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(gallery.source), "decode", None)  # Nothing is decoded in this process.
        assert gallery.views("set/0").by_size[32].shape == (1, 3, 30, 30)
        with pytest.raises(BrokenImage, match="b.png"):
            gallery.views("set/1")
        assert [address for address in gallery.offered() if address.startswith("set/")] == ["set/0"]
        (tmp_path / "a.png").write_bytes(with_scans(20_000))
        gallery._opened.clear()
        with pytest.raises(BrokenImage, match="scans"):
            gallery.views("set/0")
        os.kill(gallery.decoder._idle[0]._process.pid or 0, signal.SIGKILL)
        with pytest.raises(BrokenImage, match="image 0: decoding failed"):
            gallery.views("set/0")


def test_a_process_that_hangs_or_dies_is_replaced() -> None:
    decoder = Decoder([32])
    png = encoded("PNG")
    decoder.decode(png)
    hung = decoder._idle[0]._process
    os.kill(hung.pid or 0, signal.SIGSTOP)
    decoder.seconds = 0.2
    with pytest.raises(BrokenImage, match="takes longer than 0.2 s"):
        decoder.decode(png)
    assert not hung.is_alive() and not decoder._idle
    decoder.seconds = 60.0
    decoder.decode(png)
    os.kill(decoder._idle[0]._process.pid or 0, signal.SIGKILL)
    with pytest.raises(BrokenImage, match="decoding failed"):
        decoder.decode(png)
    assert decoder.decode(png).by_size[32].shape == (1, 3, 30, 30)  # Smaller images are not enlarged.


# ---- what is shown


class Hostile(ImageSource):
    """Images whose class names hold code for every template that a name could be pasted into."""

    spec = "folder:/data/of/the/server"
    class_names = (
        r"\x3cimg src=x onerror=window.hit=1\x3e",
        "<img src=x onerror=window.hit=1>",
        "${window.hit=1}",
        "`+(window.hit=1)+`",
        "{{{value}}}{{#each",
        "\"' onmouseover=window.hit=1 x=\\",
        "</script><script>window.hit=1</script>",
    )

    def __len__(self) -> int:
        return len(self.class_names)

    @property
    def labels(self) -> Tensor:
        return torch.arange(len(self))

    def decode(self, index: int) -> Tensor:
        return torch.full((3, 40, 40), 20 * index, dtype=torch.uint8)


@pytest.fixture(scope="module")
def hostile(explorer: Explorer, saved_inverters: dict[str, str]) -> Iterator[str]:
    """URL of the page over `Hostile`."""
    app = create_app(Explorer(explorer.inverters, Gallery([32], Hostile())), saved_inverters)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


def test_class_names_of_a_data_set_are_no_code(chromium: Any, hostile: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(hostile)
    page.locator("#stage [data-inverter='first'] .made").wait_for()
    tiles = page.locator("#image [data-address^='set/']")
    titles = [tiles.nth(index).get_attribute("title") for index in range(tiles.count())]
    assert titles == [f"{name.split(',')[0]}, no. {index}" for index, name in enumerate(Hostile.class_names)]
    tiles.nth(3).click()
    page.wait_for_url("**image=set**")
    assert tiles.nth(3).get_attribute("aria-pressed") == "true"
    assert page.evaluate("window.hit") is None and not faults
    context.close()


def test_no_folder_of_the_server_is_shown(
    explorer: Explorer, hostile: str, saved_inverters: dict[str, str], tiny_classifier_spec: str
) -> None:
    folders = {str(Path(folder).parent) for folder in saved_inverters.values()} | {"/data/of", tempfile.gettempdir()}
    texts = [shown.evidence(explorer.answer(State("photo/cat")), False), shown.problem(f"'{saved_inverters}' is gone")]
    for path in ("/", "/config", "/figure.py?image=set/0", "/figure.png?image=set/99", "/thumbnail/set/99"):
        try:
            with urllib.request.urlopen(f"{hostile}{path}", timeout=60) as answer:
                texts.append(answer.read().decode())
        except urllib.error.HTTPError as error:
            texts.append(error.read().decode())
    for text in texts:
        assert not [folder for folder in folders if folder in text]
    assert "small:tiny" in texts[0] and "open_images('folder:server')" in texts[4]


def test_mathematics_in_a_link_s_class_name_draws_a_figure(hostile: str) -> None:
    query = "image=photo/cat&class=1.0+%24%5Cfrac%24"
    with urllib.request.urlopen(f"{hostile}/figure.png?{query}", timeout=60) as answer:
        assert answer.status == 200


# ---- hosts


def test_the_page_answers_to_its_own_hosts_only(served: Any) -> None:
    for host, status in (("evil.example", 421), (served.url.partition("//")[2], 200)):
        request = urllib.request.Request(served.url, headers={"host": host})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.status == status
        except urllib.error.HTTPError as error:
            assert error.code == status
    status, _ = post(f"{served.url}/images", encoded("PNG"), origin="http://evil.example")
    assert status == 403
