"""The study's pages and what they talk to, on FastAPI. Nothing is served from a path that came from outside."""

from __future__ import annotations

import hmac
import re
from functools import lru_cache
from importlib import resources
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

import jinja2
from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from unlogit.errors import UnlogitError
from unlogit.safety import Guard, Limit, Rates, client_key
from unlogit.study import exports
from unlogit.study.ballots import Ballots
from unlogit.study.create import ADDRESS, NAME, digest
from unlogit.study.design import Design, Trial
from unlogit.study.results import Results
from unlogit.study.tables import ORIGINAL, OTHER, Database, Participant, Picture, Study, Vote

try:
    from fastapi import FastAPI, HTTPException, Request, Response
    from fastapi.responses import HTMLResponse, RedirectResponse
    from pydantic import BaseModel, Field
except ImportError as missing:
    raise UnlogitError(f"the study needs {missing.name}: pip install 'unlogit[study]'") from missing

ASSETS = {
    "study.css": "text/css",
    "study.js": "text/javascript",
    "results.css": "text/css",
    "icon.svg": "image/svg+xml",
}
COOKIE = "researcher"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
BODY_BYTES = 8192
"""The longest body that is read; an answer takes about 200."""
BEGINNING = Limit(burst=200, rate=2)
"""Participants that begin or come back, by address: a class may sit behind one."""
ANSWERING = Limit(burst=200, rate=10)
"""Answers, by participant; the burst lets one who was without a connection send all that waited."""
UNLOCKING = Limit(burst=10, rate=0.1)
"""Tokens tried, by address."""
CACHED_PICTURES = 2048
SHOWN = re.compile(r"([0-9]{1,18}-[0-9]{1,7}-[012])-[0-9a-f]{24}")
"""A picture as one trial shows it: the participant's row, the trial, the position (original, left, right), a seal."""
SECONDS = 3
"""What a trial takes a participant, for the estimate that they are told."""

Secret = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Begin(BaseModel):
    """A participant who begins or comes back, known by a secret that their browser made up."""

    participant: Secret


class Answer(BaseModel):
    """One answer. Sent again with the same key it is the same answer."""

    participant: Secret
    key: Secret
    trial: int = Field(ge=0, le=1_000_000)
    chosen: Literal["left", "right"]
    milliseconds: int = Field(ge=0, le=2**31 - 1)
    shows: int = Field(ge=1, le=1_000_000)


def create_app(database: Database) -> FastAPI:
    """The application that serves all studies of a database."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, policy=POLICY, body_bytes=BODY_BYTES)
    pages = jinja2.Environment(loader=jinja2.PackageLoader("unlogit.study", "assets"), autoescape=True)
    texts = {name: resources.files("unlogit.study").joinpath("assets", name).read_text("utf-8") for name in ASSETS}
    beginning, answering, unlocking = Rates(BEGINNING), Rates(ANSWERING), Rates(UNLOCKING)
    ballots = Ballots(database)

    # What follows never changes once it was written, so that it can be kept; a thread would take longer than a look.

    @lru_cache(maxsize=256)
    def find(name: str) -> Study:
        if not NAME.fullmatch(name):
            raise HTTPException(404, "no such study")
        with database.reading() as session:
            study = session.exec(select(Study).where(Study.name == name)).first()
        if study is None:
            raise HTTPException(404, "no such study")
        return study

    @lru_cache(maxsize=256)
    def addresses(study: int) -> dict[tuple[int, str], str]:
        with database.reading() as session:
            rows = session.exec(select(Picture.place, Picture.maker, Picture.address).where(Picture.study == study))
            return {(place, maker): address for place, maker, address in rows}

    @lru_cache(maxsize=CACHED_PICTURES)
    def png(study: int, address: str) -> bytes:
        with database.reading() as session:
            picture = session.get(Picture, address)
        if picture is None or picture.study != study:
            raise HTTPException(404, "no such picture")
        return picture.png

    @lru_cache(maxsize=4096)
    def known(study: int, key: str) -> int:
        """A participant's row."""
        with database.reading() as session:
            row = session.exec(select(Participant.id).where(Participant.study == study, Participant.key == key)).first()
        if row is None:
            raise HTTPException(404, "no such participant; load the page again")
        return row

    @lru_cache(maxsize=4096)
    def trials_of(study: int, row: int) -> tuple[Trial, ...]:
        """What the participant of a row is shown."""
        with database.reading() as session:
            found, asked = session.get(Participant, row), session.get(Study, study)
        if found is None or asked is None or found.study != study:
            raise HTTPException(404, "no such participant; load the page again")
        return Design.of(asked).of_participant(found.number)

    def enrol(study: int, key: str) -> None:
        """Make the participant, with the next number; does nothing where the key is known."""
        following = select(func.coalesce(func.max(Participant.number) + 1, 0)).where(
            Participant.study == study, Participant.observer == ""
        )
        try:
            with database.writing() as session:
                # One after another: by this lock in a database of many writers, by the writing itself in SQLite.
                session.exec(select(Study.id).where(Study.id == study).with_for_update())
                number = following.scalar_subquery()
                session.add(Participant(study=study, number=number, key=key))  # type: ignore[arg-type]
        except IntegrityError:
            pass  # The same request, sent again while the first was under way.

    def researcher(request: Request, name: str) -> Study:
        """The study, where the request carries its token; else 401."""
        study = find(name)
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        token = bearer if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")
        if not hmac.compare_digest(digest(token), study.token):
            if token:
                unlocking.take(client_key(request.scope))
            raise HTTPException(401, "the researcher's token is needed", {"www-authenticate": "Bearer"})
        return study

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/assets/{asset}")
    async def asset(asset: str) -> Response:
        if asset not in ASSETS:
            raise HTTPException(404)
        return Response(texts[asset], media_type=ASSETS[asset], headers={"cache-control": "no-cache"})

    @app.get("/s/{name}", response_class=HTMLResponse)
    def page(name: str) -> str:
        study = find(name)
        minutes = max(1, round((study.trials + study.checks) * SECONDS / 60))
        consent = [part for part in study.consent.split("\n\n") if part.strip()]
        return pages.get_template("study.html.jinja").render(study=study, minutes=minutes, consent=consent)

    @app.post("/s/{name}/participants")
    def begin(request: Request, name: str, who: Begin) -> dict[str, Any]:
        """Begin, or go on: all trials as addresses of pictures, and which were answered."""
        beginning.take(client_key(request.scope))
        study = find(name)
        assert study.id is not None
        key = digest(who.participant)
        try:
            row = known(study.id, key)
        except HTTPException:
            enrol(study.id, key)
            row = known(study.id, key)
        with database.reading() as session:
            answered = session.exec(select(Vote.trial).where(Vote.participant == row)).all()
        numbers = range(len(trials_of(study.id, row)))
        return {
            "trials": [[sign(study, f"{row}-{number}-{position}") for position in range(3)] for number in numbers],
            "answered": sorted(answered),
        }

    @app.post("/s/{name}/answers")
    async def answer(name: str, answer: Answer) -> dict[str, bool]:
        """Count an answer; once it is acknowledged, it is on the disk."""
        study = find(name)
        assert study.id is not None
        key = digest(answer.participant)
        answering.take(key)
        participant = known(study.id, key)
        trials = trials_of(study.id, participant)
        if answer.trial >= len(trials):
            raise HTTPException(422, f"trial {answer.trial}: there are {len(trials)}")
        trial = trials[answer.trial]
        vote = Vote(
            participant=participant,
            place=trial.place,
            left=trial.left,
            right=trial.right,
            **answer.model_dump(exclude={"participant"}),
        )
        outcome = await ballots.cast(vote)
        if outcome == "taken":
            raise HTTPException(409, f"trial {answer.trial} was answered before")
        return {"counted": outcome == "counted"}

    @app.get("/s/{name}/pictures/{address}.png")
    async def picture(name: str, address: str) -> Response:
        study = find(name)
        assert study.id is not None
        if shown := SHOWN.fullmatch(address):
            if not hmac.compare_digest(sign(study, shown[1]), address):
                raise HTTPException(404, "no such picture")
            row, number, position = map(int, shown[1].split("-"))
            trial = trials_of(study.id, row)[number]
            maker = (ORIGINAL, trial.left, trial.right)[position]
            place = Design.of(study).other(trial.place) if maker == OTHER else trial.place
            address = addresses(study.id)[place, ORIGINAL if maker == OTHER else maker]
        elif not ADDRESS.fullmatch(address):
            raise HTTPException(404, "no such picture")
        headers = {"cache-control": "private, max-age=31536000, immutable"}
        return Response(png(study.id, address), media_type="image/png", headers=headers)

    @app.get("/s/{name}/results", response_class=HTMLResponse)
    def results(request: Request, name: str) -> Response:
        try:
            study = researcher(request, name)
        except HTTPException as refused:
            if refused.status_code != 401:
                raise
            return HTMLResponse(pages.get_template("token.html.jinja").render(study=find(name)), status_code=401)
        found = Results.read(database, study)
        assert study.id is not None
        return HTMLResponse(
            pages.get_template("results.html.jinja").render(
                study=study,
                results=found,
                pictures=addresses(study.id),
                original=ORIGINAL,
                exports=exports.EXPORTS,
                percent=exports.percent,
            )
        )

    @app.post("/s/{name}/results")
    async def unlock(request: Request, name: str) -> Response:
        """Keep the token in a cookie that scripts and other sites cannot use."""
        unlocking.take(client_key(request.scope))
        study = find(name)
        given = parse_qs((await request.body()).decode("utf-8", "replace")).get("token", [""])[0].strip()
        if not hmac.compare_digest(digest(given), study.token):
            page = pages.get_template("token.html.jinja").render(study=study, wrong=True)
            return HTMLResponse(page, status_code=401)
        path = f"/s/{study.name}/results"
        response = RedirectResponse(path, status_code=303)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, given, path=path, secure=secure, httponly=True, samesite="strict")
        return response

    @app.get("/s/{name}/results/{export}")
    def export(request: Request, name: str, export: str) -> Response:
        study = researcher(request, name)
        if export not in exports.EXPORTS:
            raise HTTPException(404, "no such export")
        media_type, made = exports.EXPORTS[export]
        disposition = f'attachment; filename="{study.name}-{export}"'
        return Response(made(database, study), media_type=media_type, headers={"content-disposition": disposition})

    return app


def sign(study: Study, shown: str) -> str:
    """Return the address of a picture as one trial shows it, ROW-TRIAL-POSITION and a seal that only the server makes.

    No two of them are alike, so that in an attention check the original does not have the right answer's address.
    """
    return f"{shown}-{hmac.new(study.token.encode(), shown.encode(), 'sha256').hexdigest()[:24]}"
