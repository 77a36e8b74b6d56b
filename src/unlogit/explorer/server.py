"""The page's server: Gradio's page within this application, which alone takes pictures in and hands files out."""

from __future__ import annotations

import re

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.explorer import figure, page
from unlogit.explorer.answer import Explorer
from unlogit.explorer.code import script
from unlogit.explorer.gallery import ADDRESS, UPLOAD_BYTES
from unlogit.explorer.state import State
from unlogit.safety import Guard, Limit, Rates

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'"
)
"""Gradio's page needs inline scripts; but nothing may be asked of anybody else."""
OPEN = re.compile(
    r"/|/(figure\.png|figure\.py|pictures|thumbnail/.*)"
    r"|/(assets|static)/.*|/(theme\.css|config|favicon\.ico|manifest\.json)"
    r"|/gradio_api/(queue/(join|data)|startup-events|heartbeat/[A-Za-z0-9]+|cancel|info)/?"
)
"""All that is served. Of Gradio's own addresses, not those that take, fetch or hand out files."""
CHANGING = Limit(burst=300, rate=30)
"""Requests that compute, by address of the network; dragging a slider makes a few a second."""
DROPPING = Limit(burst=30, rate=0.5)
"""Pictures taken in, by address of the network."""


class Gate:
    """ASGI middleware: answers 404 to all but `OPEN`, and 429 to who asks too often."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.changing = Rates(CHANGING)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if not OPEN.fullmatch(path):
                return await JSONResponse({"detail": "no such page"}, 404)(scope, receive, send)
            if scope["method"] == "POST" or path.startswith("/figure"):
                try:
                    self.changing.take(scope["client"][0])
                except HTTPException as error:
                    answer = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
                    return await answer(scope, receive, send)
        return await self.app(scope, receive, send)


def create_app(explorer: Explorer, specs: dict[str, str]) -> FastAPI:
    """The application.

    Args:
        explorer: what is shown.
        specs: by an inverter's name, what it was opened by, for the code that the page hands out.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    dropping = Rates(DROPPING)
    images = None if explorer.gallery.source is None else explorer.gallery.source.spec
    opened = {name: (specs[name], inverter) for name, inverter in explorer.inverters.items()}

    @app.post("/pictures")
    async def drop(request: Request) -> dict[str, str]:
        dropping.take(_address(request))
        data = await request.body()
        try:
            return {"address": await run_in_threadpool(explorer.gallery.drop, data)}
        except BrokenImage as error:
            raise HTTPException(415, f"This cannot be read as a picture ({error}).") from error

    @app.get("/thumbnail/{kind}/{name}")
    def thumbnail(kind: str, name: str) -> Response:
        if not ADDRESS.fullmatch(address := f"{kind}/{name}"):
            raise HTTPException(404, "no such picture")
        try:
            return Response(explorer.gallery.views(address).thumbnail, media_type="image/jpeg")
        except UnlogitError as error:
            raise HTTPException(404, str(error)) from error

    @app.get("/figure.png")
    def picture(request: Request) -> Response:
        state = _state(request)
        try:
            answers = explorer.answer(state)
            size = max(explorer.gallery.sizes)
            original = explorer.gallery.views(state.picture).by_size[size][0]
        except UnlogitError as error:
            raise HTTPException(404, str(error)) from error
        return Response(figure.png(state, original, answers), media_type="image/png")

    @app.get("/figure.py")
    def code(request: Request) -> Response:
        return Response(script(_state(request), opened, images), media_type="text/x-python")

    app.add_middleware(Gate)
    app.add_middleware(Guard, policy=POLICY, body_bytes=UPLOAD_BYTES)
    page.mount(app, explorer)
    return app


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _state(request: Request) -> State:
    try:
        state = State.of_query(request.url.query)
    except UnlogitError as error:
        raise HTTPException(400, str(error)) from error
    if not state.picture:
        raise HTTPException(400, "the link names no picture")
    return state
