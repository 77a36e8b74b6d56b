"""The study's pages and what they talk to, on FastAPI. Nothing is served from a path that came from outside."""

from __future__ import annotations

import dataclasses
import hmac
import re
from contextlib import suppress
from functools import lru_cache
from importlib import resources
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

import jinja2
from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from unlogit.errors import UnlogitError
from unlogit.web.guard import Guard, Limit, Rates, client_key
from unlogit.web.study import COMPARISON, NAMING, ORIGINAL, exports
from unlogit.web.study.ballots import Ballots
from unlogit.web.study.create import ADDRESS, NAME, NAME_LENGTH, digest, fill_redirect
from unlogit.web.study.design import Design, Trial
from unlogit.web.study.results import Results
from unlogit.web.study.tables import Attention, Database, Entry, Participant, Picture, Study, Vote

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
LOGGING = Limit(burst=100, rate=1)
"""Changes of the focus, by participant."""
LOGGED = 5_000
"""Changes of the focus that are kept of a participant; later ones are not."""
UNLOCKING = Limit(burst=10, rate=0.1)
"""Tokens tried, by address."""
CACHED_IMAGES = 2048
SHOWN = re.compile(r"([0-9]{1,18}-[0-9]{1,7}-[012])-[0-9a-f]{24}")
"""An image as one trial shows it: the participant's row, the trial, the position on the screen, a seal."""
SECONDS = {COMPARISON: 3, NAMING: 6}
"""Duration of a trial, for the estimate on the participants' page."""

Secret = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Screen(BaseModel):
    """Size of the viewport in CSS pixels, and device pixels a CSS pixel."""

    width: int = Field(default=0, ge=0, le=100_000)
    height: int = Field(default=0, ge=0, le=100_000)
    ratio: float = Field(default=0, ge=0, le=100, allow_inf_nan=False)


class Begin(BaseModel):
    """A participant who begins or comes back, known by a secret of their browser or by the id in their link."""

    participant: Secret
    parameters: dict[str, Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f]*$")]] = Field(
        default={}, max_length=64
    )
    screen: Screen = Screen()


class End(BaseModel):
    """A participant who has answered all trials."""

    participant: Secret


class Seen(BaseModel):
    """The page lost or regained the focus, `moment` by the participant's clock in milliseconds since 1970."""

    participant: Secret
    kind: Literal["blur", "focus"]
    moment: int = Field(ge=0, le=2**53)
    trial: int = Field(ge=-1, le=1_000_000)


class Answer(BaseModel):
    """One answer. Sent again with the same key it is the same answer."""

    participant: Secret
    key: Secret
    trial: int = Field(ge=0, le=1_000_000)
    chosen: str = Field(max_length=NAME_LENGTH)
    milliseconds: int = Field(ge=0, le=2**31 - 1)
    shows: int = Field(ge=1, le=1_000_000)


def create_app(database: Database) -> FastAPI:
    """The application that serves all studies of a database."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, policy=POLICY, body_bytes=BODY_BYTES)
    pages = jinja2.Environment(loader=jinja2.PackageLoader("unlogit.web.study", "assets"), autoescape=True)
    texts = {name: resources.files("unlogit.web.study").joinpath("assets", name).read_text("utf-8") for name in ASSETS}
    beginning, answering, unlocking = Rates(BEGINNING), Rates(ANSWERING), Rates(UNLOCKING)
    logging = Rates(LOGGING)
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

    @lru_cache(maxsize=CACHED_IMAGES)
    def png(study: int, address: str) -> bytes:
        with database.reading() as session:
            picture = session.get(Picture, address)
        if picture is None or picture.study != study:
            raise HTTPException(404, "no such image")
        return picture.png

    @lru_cache(maxsize=4096)
    def known(study: int, key: str) -> int:
        """A participant's row."""
        with database.reading() as session:
            row = session.exec(select(Participant.id).where(Participant.study == study, Participant.key == key)).first()
            if row is None:  # Who came back by the id in their link, from another browser.
                entered = select(Participant.id).join(Entry, col(Entry.participant) == col(Participant.id))
                row = session.exec(entered.where(Participant.study == study, Entry.key == key)).first()
        if row is None:
            raise HTTPException(404, "no such participant; load the page again")
        return row

    @lru_cache(maxsize=256)
    def design_of(name: str) -> Design:
        return Design.of(find(name))

    @lru_cache(maxsize=4096)
    def trials_of(name: str, row: int) -> tuple[Trial, ...]:
        """What the participant of a row is shown."""
        with database.reading() as session:
            found = session.get(Participant, row)
        if found is None or found.study != find(name).id:
            raise HTTPException(404, "no such participant; load the page again")
        return design_of(name).of_participant(found.number)

    def identify(study: int, external: str | None) -> int | None:
        """Return the row of who came with this id before."""
        with database.reading() as session:
            same = select(Participant.id).where(Participant.study == study, Participant.external == external)
            return session.exec(same).first() if external else None

    def enrol(study: int, key: str, external: str | None, variables: dict[str, str]) -> None:
        """Make the participant, with the next number; does nothing where the key or the id is known."""
        following = select(func.coalesce(func.max(Participant.number) + 1, 0)).where(
            Participant.study == study, Participant.observer == ""
        )
        try:
            with database.writing() as session:
                # One after another: by this lock in a database of many writers, by the writing itself in SQLite.
                session.exec(select(Study.id).where(Study.id == study).with_for_update())
                number = following.scalar_subquery()
                person = Participant(study=study, number=number, key=key, external=external, variables=variables)  # type: ignore[arg-type]
                session.add(person)
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

    @app.get("/", response_class=HTMLResponse)
    def front() -> str:
        return pages.get_template("front.html.jinja").render()

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
        minutes = max(1, round((study.trials + study.checks) * SECONDS[study.trial] / 60))
        consent = [part for part in study.consent.split("\n\n") if part.strip()]
        return pages.get_template("study.html.jinja").render(
            study=study, minutes=minutes, consent=consent, parameters=[*study.identity, *study.variables]
        )

    @app.post("/s/{name}/participants")
    def begin(request: Request, name: str, who: Begin) -> dict[str, Any]:
        """Begin, or go on: all trials as addresses of images, and which were answered.

        In a naming study, also the names to choose from in each trial, and by the number of an attention check the one
        that it asks for.
        """
        beginning.take(client_key(request.scope))
        study = find(name)
        assert study.id is not None
        key = digest(who.participant)
        external = next((who.parameters[name] for name in study.identity if who.parameters.get(name)), None)
        variables = {name: who.parameters[name] for name in study.variables if name in who.parameters}
        row = identify(study.id, external)
        if row is None and external is None:
            with suppress(HTTPException):
                row = known(study.id, key)
        if row is None:
            # With an id, the browser's secret may be that of another id; entries hold which is whose.
            enrol(study.id, digest(f"{external} {key}") if external else key, external, variables)
            row = identify(study.id, external) or known(study.id, key)
        with database.writing() as session:
            taken = session.exec(select(Entry.participant).where(Entry.key == key)).first()
            if external and taken not in (None, row):
                raise HTTPException(409, "this browser's secret belongs to another participant; load the page again")
            session.add(Entry(participant=row, key=key, **who.screen.model_dump()))
        with database.reading() as session:
            answered = session.exec(select(Vote.trial).where(Vote.participant == row)).all()
        design, trials = design_of(study.name), trials_of(study.name, row)
        state: dict[str, Any] = {
            "trials": [
                [sign(study, f"{row}-{number}-{position}") for position, _ in enumerate(design.images(trial))]
                for number, trial in enumerate(trials)
            ],
            "answered": sorted(answered),
        }
        if study.trial == NAMING:
            state["choices"] = [design.choices(trial) for trial in trials]
            state["checks"] = {number: trial.correct for number, trial in enumerate(trials) if trial.check}
        return state

    @app.post("/s/{name}/answers")
    async def answer(name: str, answer: Answer) -> dict[str, bool]:
        """Count an answer; once it is acknowledged, it is on the disk."""
        study = find(name)
        assert study.id is not None
        key = digest(answer.participant)
        answering.take(key)
        participant = known(study.id, key)
        trials = trials_of(name, participant)
        if answer.trial >= len(trials):
            raise HTTPException(422, f"trial {answer.trial}: there are {len(trials)}")
        trial = trials[answer.trial]
        if answer.chosen not in design_of(name).choices(trial):
            raise HTTPException(422, f"trial {answer.trial}: that is none of its choices")
        vote = Vote(
            participant=participant,
            **dataclasses.asdict(trial),
            **answer.model_dump(exclude={"participant"}),
        )
        outcome = await ballots.cast(vote)
        if outcome == "taken":
            raise HTTPException(409, f"trial {answer.trial} was answered before")
        return {"counted": outcome == "counted"}

    @app.post("/s/{name}/attention")
    def attend(name: str, seen: Seen) -> dict[str, bool]:
        """Log that the page lost or regained the focus."""
        study = find(name)
        assert study.id is not None
        key = digest(seen.participant)
        logging.take(key)
        row = known(study.id, key)
        with database.reading() as session:
            count = session.exec(select(func.count()).where(Attention.participant == row)).one()
        if count >= LOGGED:
            return {"logged": False}
        try:
            with database.writing() as session:
                session.add(Attention(participant=row, **seen.model_dump(exclude={"participant"})))
        except IntegrityError:
            pass  # Sent again.
        return {"logged": True}

    @app.post("/s/{name}/end")
    def end(name: str, who: End) -> dict[str, str]:
        """Return where to go after the last answer; refused before, since the address may hold a completion code."""
        study = find(name)
        assert study.id is not None
        row = known(study.id, digest(who.participant))
        with database.reading() as session:
            answered = session.exec(select(func.count()).where(Vote.participant == row)).one()
            person = session.get(Participant, row)
        if answered < len(trials_of(name, row)) or person is None:
            raise HTTPException(409, "not all trials are answered")
        named = dict.fromkeys(study.identity, person.external or "") | person.variables
        return {"redirect": fill_redirect(study.redirect, named)}

    @app.get("/s/{name}/pictures/{address}.png")
    async def picture(name: str, address: str) -> Response:
        study = find(name)
        assert study.id is not None
        if shown := SHOWN.fullmatch(address):
            if not hmac.compare_digest(sign(study, shown[1]), address):
                raise HTTPException(404, "no such image")
            row, number, position = map(int, shown[1].split("-"))
            trial = trials_of(name, row)[number]
            address = addresses(study.id)[design_of(name).images(trial)[position]]
        elif not ADDRESS.fullmatch(address):
            raise HTTPException(404, "no such image")
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
                exports=exports.EXPORTS[study.trial],
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
        made_of = exports.EXPORTS[study.trial]
        if export not in made_of:
            raise HTTPException(404, "no such export")
        media_type, made = made_of[export]
        disposition = f'attachment; filename="{study.name}-{export}"'
        return Response(made(database, study), media_type=media_type, headers={"content-disposition": disposition})

    return app


def sign(study: Study, shown: str) -> str:
    """Return the address of an image as one trial shows it, ROW-TRIAL-POSITION and a seal that only the server makes.

    No two of them are alike, so that in an attention check the original does not have the right answer's address.
    """
    return f"{shown}-{hmac.new(study.token.encode(), shown.encode(), 'sha256').hexdigest()[:24]}"
