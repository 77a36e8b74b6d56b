"""The page's server: Gradio's page within this application, which alone takes images in and hands files out."""

from __future__ import annotations

import json
import re

import anyio
from anyio.to_thread import run_sync
from fastapi import FastAPI, HTTPException, Request, Response
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.web.explorer import figure, page
from unlogit.web.explorer.answer import Explorer
from unlogit.web.explorer.code import script
from unlogit.web.explorer.decoding import BusyError
from unlogit.web.explorer.gallery import ADDRESS, UPLOAD_BYTES
from unlogit.web.explorer.state import State
from unlogit.web.guard import Guard, Limit, Rates, client_key, hide_folders

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'"
)
"""Gradio's page needs inline scripts; but nothing may be asked of anybody else."""
OPEN = re.compile(
    r"/|/(figure\.png|figure\.py|images|thumbnail/.*)"
    r"|/(assets|static)/.*|/(theme\.css|config|favicon\.ico|manifest\.json)"
    r"|/gradio_api/(queue/(join|data)|startup-events|heartbeat/[A-Za-z0-9]+|cancel|info)/?"
)
"""All that is served. Of Gradio's own addresses, not those that take, fetch or hand out files."""
CHANGING = Limit(burst=300, rate=30)
"""Requests that compute, by address of the network; dragging a slider makes a few a second."""
DROPPING = Limit(burst=30, rate=0.5)
"""Images taken in, by address of the network."""


EVENT_BYTES = 65_536
"""The longest body of a Gradio event; the page's are about 1,000."""
EVENT_FIELDS = ("session_hash", "event_id", "fn_index", "trigger_id", "event_data")
"""What is passed on to Gradio of an event, besides its data."""
UPLOADS, FIGURES = 8, 2
"""Uploads and figures under way at once; others wait without a thread, so that the rest of the page goes on."""


class Gate:
    """ASGI middleware: answers 404 to all but `OPEN`, 422 to events that hold more than numbers and texts, and 429 to
    who asks too often.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.changing = Rates(CHANGING)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            try:
                if not OPEN.fullmatch(path):
                    raise HTTPException(404, "no such page")
                if scope["method"] == "POST" or path.startswith("/figure"):
                    self.changing.take(client_key(scope))
                if scope["method"] not in ("GET", "HEAD") and path.startswith("/gradio_api/"):
                    return await self.app(*_replay(scope, plain_event(await _body(receive)), receive), send)
            except HTTPException as error:
                answer = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
                return await answer(scope, receive, send)
        return await self.app(scope, receive, send)


def plain_event(body: bytes) -> bytes:
    """Return a Gradio event anew, with its known fields alone; raises `HTTPException` 422 unless all are scalars.

    Gradio takes a mapping with a path for a file of this machine, and copies it, whatever file it is.
    """
    try:
        received = json.loads(body)
    except (ValueError, RecursionError):
        received = None
    if not isinstance(received, dict):
        raise HTTPException(422, "an event must be a JSON object")
    event = {name: received[name] for name in EVENT_FIELDS if received.get(name) not in (None, {})}
    data = received.get("data", [])
    if not isinstance(data, list) or not all(map(_is_scalar, (*event.values(), *data))):
        raise HTTPException(422, "the values of an event must be numbers and texts")
    return json.dumps(event | {"data": data}).encode()


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HTTPException(400, "the body is cut short")
        body += message.get("body", b"")
        if len(body) > EVENT_BYTES:
            raise HTTPException(413, f"body above {EVENT_BYTES} bytes")
        if not message.get("more_body", False):
            return body


def _replay(scope: Scope, body: bytes, receive: Receive) -> tuple[Scope, Receive]:
    """The request with another body, of the same kind however it was declared."""
    replaced = (b"content-length", b"content-type", b"transfer-encoding", b"content-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name not in replaced]
    headers += [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def again() -> Message:
        return next(messages, None) or await receive()

    return {**scope, "headers": headers}, again


def create_app(explorer: Explorer, specs: dict[str, str]) -> FastAPI:
    """The application.

    Args:
        explorer: what is shown.
        specs: by an inverter's name, what it was opened by, for the code that the page hands out.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    dropping = Rates(DROPPING)
    images = None if explorer.gallery.source is None else hide_folders(explorer.gallery.source.spec)
    opened = {name: (hide_folders(specs[name]), inverter) for name, inverter in explorer.inverters.items()}
    uploads, figures = anyio.CapacityLimiter(UPLOADS), anyio.CapacityLimiter(FIGURES)

    @app.post("/images")
    async def drop(request: Request) -> dict[str, str]:
        dropping.take(client_key(request.scope))
        data = await request.body()
        try:
            return {"address": await run_sync(explorer.gallery.drop, data, limiter=uploads)}
        except BrokenImage as error:
            raise HTTPException(415, f"This cannot be read as an image ({error}).") from error
        except BusyError as error:
            raise HTTPException(503, str(error), {"retry-after": "5"}) from error

    @app.get("/thumbnail/{kind}/{name}")
    def thumbnail(kind: str, name: str) -> Response:
        if not ADDRESS.fullmatch(address := f"{kind}/{name}"):
            raise HTTPException(404, "no such image")
        try:
            return Response(explorer.gallery.views(address).thumbnail, media_type="image/jpeg")
        except BusyError as error:
            raise HTTPException(503, str(error), {"retry-after": "5"}) from error
        except UnlogitError as error:
            raise HTTPException(404, hide_folders(str(error))) from error

    @app.get("/figure.png")
    async def image(request: Request) -> Response:
        state = _state(request)

        def draw() -> bytes:
            answers = explorer.answer(state)
            size = max(explorer.gallery.sizes)
            return figure.png(state, explorer.gallery.views(state.image).by_size[size][0], answers)

        try:
            return Response(await run_sync(draw, limiter=figures), media_type="image/png")
        except UnlogitError as error:
            raise HTTPException(404, hide_folders(str(error))) from error

    @app.get("/figure.py")
    def code(request: Request) -> Response:
        return Response(script(_state(request), opened, images, explorer.view), media_type="text/x-python")

    app.add_middleware(Gate)
    app.add_middleware(Guard, policy=POLICY, body_bytes=UPLOAD_BYTES)
    page.mount(app, explorer)
    return app


def _state(request: Request) -> State:
    try:
        state = State.of_query(request.url.query)
    except UnlogitError as error:
        raise HTTPException(400, str(error)) from error
    if not state.image:
        raise HTTPException(400, "the link names no image")
    return state
