"""What the server takes in and hands out, and what it refuses."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unlogit import cli
from unlogit.web.explorer import command
from unlogit.web.explorer.gallery import UPLOAD_BYTES

STATE = "image=photo/cat&shift=1.0"


def ask(url: str, data: bytes | None = None, method: str | None = None) -> tuple[int, bytes, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=60) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def png(width: int = 50, height: int = 40) -> bytes:
    buffer = BytesIO()
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_image_is_taken_in_and_written_nowhere(served: Any) -> None:
    status, body, _ = ask(f"{served.url}/images", png())
    address = json.loads(body)["address"]
    assert status == 200 and re.fullmatch("dropped/[0-9a-f]{32}", address)
    status, body, headers = ask(f"{served.url}/thumbnail/{address}")
    assert status == 200 and headers["content-type"] == "image/jpeg" and Image.open(BytesIO(body)).size == (128, 128)
    status, body, headers = ask(f"{served.url}/figure.png?image={address}")
    assert status == 200 and headers["content-type"] == "image/png"
    assert not [file for file in served.files.rglob("*") if file.is_file()]


def test_what_is_no_image_is_refused(served: Any) -> None:
    claims = png()[:16] + (60_000).to_bytes(4, "big") + (60_000).to_bytes(4, "big") + png()[24:]
    for data in (b"", b"no image", png()[:200], b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", claims):
        status, body, _ = ask(f"{served.url}/images", data, "POST")
        assert status == 415 and "cannot be read as an image" in json.loads(body)["detail"]
    status, _, _ = ask(f"{served.url}/images", bytes(UPLOAD_BYTES + 1))
    assert status == 413


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/file=/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=https://example.org/",
        "/gradio_api/upload",
        "/gradio_api/component_server",
        "/gradio_api/stream/1",
        "/gradio_api/run/predict",
        "/gradio_api/call/update",
        "/gradio_api/deep_link",
        "/gradio_api/runs",
        "/monitoring",
        "/docs",
        "/openapi.json",
        "/static/../../../../etc/passwd",
        "/assets/%2e%2e/%2e%2e/%2e%2e/routes.py",
        "/thumbnail/photo/..%2f..%2fsecret",
        "/thumbnail/set/999",
        "/thumbnail/photo/CREDITS",
    ],
)
def test_no_other_address_is_served(served: Any, path: str) -> None:
    for method in ("GET", "POST"):
        status, body, _ = ask(f"{served.url}{path}", b"{}" if method == "POST" else None, method)
        assert status in (403, 404, 405), body[:200]


def test_figures_of_a_link(served: Any) -> None:
    status, body, _ = ask(f"{served.url}/figure.png?{STATE}")
    assert status == 200 and Image.open(BytesIO(body)).format == "PNG"
    status, body, _ = ask(f"{served.url}/figure.py?{STATE}")
    assert status == 200 and b"manipulate.shift(raw, 1.0 * sd)" in body
    for query, code in [("shift=99&image=photo/cat", 400), ("", 400), ("image=photo/nobody", 404)]:
        assert ask(f"{served.url}/figure.png?{query}")[0] == code


def test_nothing_may_be_asked_of_others(served: Any) -> None:
    status, body, headers = ask(served.url)
    assert status == 200
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "connect-src 'self'" in policy and "http" not in policy
    assert b'"analytics_enabled":false' in body.replace(b" ", b"")


def test_mistakes_in_the_command(
    capsys: pytest.CaptureFixture[str], saved_inverters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "known", list)  # As if none came with the package.
    for args, told in [
        ([], "no inverter given"),
        (["nowhere"], "inverter 'nowhere'"),
        ([saved_inverters["first"], saved_inverters["first"]], "names must differ"),
        ([saved_inverters["first"], "--port", "0"], "port 0"),
        ([saved_inverters["first"], "--images", "folder:/nowhere/at/all"], "/nowhere/at/all"),
    ]:
        assert cli.main(["explore", *args]) == 2
        assert told in capsys.readouterr().err
