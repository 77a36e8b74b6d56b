"""The study's tables, in a SQLite file or in whatever database a URL names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlogit.errors import UnlogitError, unknown
from unlogit.files import expand_user
from unlogit.web.study import COMPARISON

try:
    from sqlalchemy import (
        JSON,
        BigInteger,
        Column,
        Index,
        Insert,
        LargeBinary,
        String,
        UniqueConstraint,
        event,
        inspect,
    )
    from sqlalchemy.engine import URL, Inspector, make_url
    from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
    from sqlalchemy.schema import CreateColumn
    from sqlmodel import Field, Session, SQLModel, col, create_engine, delete, select
except ImportError as missing:
    raise UnlogitError(f"the study needs {missing.name}: pip install 'unlogit[study]'") from missing

BUSY_SECONDS = 30
"""How long SQLite waits for another process that is writing."""


def now() -> datetime:
    return datetime.now(UTC)


class Study(SQLModel, table=True):
    """What participants are asked, as given to `unlogit study create`; never changed afterwards.

    Attributes:
        name: stands in the participants' link.
        rendering: how small images are enlarged, "smooth" or "pixelated".
        images: the source's spec.
        images: how many of its images, N; they are numbered by place, 0 to N - 1.
        pairs: of inverters' names; the first of each is the one whose share is reported.
        trials, checks: how many of either a participant is shown.
        token: SHA-256 of the researcher's token, in hex; the token itself is not kept.
        identity: parameters of the participants' link that hold their id, such as PROLIFIC_PID; the first one counts.
        variables: further parameters of the link that are kept.
        redirect: address to which a participant is sent at the end, with {NAME} for a parameter; empty for none.
        trial: the kind of trial, `COMPARISON` or `NAMING`. Pairs belong to the first kind, what follows to the second.
        conditions: makers of the images that are shown: `ORIGINAL` and the inverters' names.
        labels: of each place, the name of the original's class.
        choices: of each place, the class names to choose from.
    """

    __tablename__ = "unlogit_study"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    title: str
    question: str
    consent: str
    thanks: str
    rendering: str
    images: str
    pictures: int
    pairs: list[list[str]] = Field(sa_column=Column(JSON, nullable=False))
    trials: int
    checks: int
    seed: int
    token: str
    made: datetime = Field(default_factory=now)
    identity: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False, server_default="[]"))
    variables: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False, server_default="[]"))
    redirect: str = Field(default="", sa_column=Column(String, nullable=False, server_default=""))
    trial: str = Field(default=COMPARISON, sa_column=Column(String, nullable=False, server_default=COMPARISON))
    conditions: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False, server_default="[]"))
    labels: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False, server_default="[]"))
    choices: list[list[str]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False, server_default="[]"))


class Picture(SQLModel, table=True):
    """One image as PNG: an original, or what an inverter made of it.

    Attributes:
        address: random, so that it does not reveal the maker to a participant.
        maker: an inverter's name, or `ORIGINAL`.
    """

    __tablename__ = "unlogit_picture"

    __table_args__ = (UniqueConstraint("study", "place", "maker"),)
    address: str = Field(primary_key=True)
    study: int = Field(foreign_key="unlogit_study.id")
    place: int
    maker: str
    png: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class Participant(SQLModel, table=True):
    """A person known by a number, or an automated observer.

    Attributes:
        number: counted up in a study from 0 in the order of arrival; decides which trials are shown.
        observer: the metric's name, or `SIMULATED`; empty for people.
        key: SHA-256 of the secret that the participant's browser made up, in hex.
        began: when they agreed and began, UTC.
        external: id in the participants' link, by which they come back from any browser; None where there is none.
        variables: by name, the kept parameters of the link with which they first came.
    """

    __tablename__ = "unlogit_participant"

    __table_args__ = (
        UniqueConstraint("study", "observer", "number"),
        UniqueConstraint("study", "key"),
        Index("unlogit_participant_external", "study", "external", unique=True),
    )
    id: int | None = Field(default=None, primary_key=True)
    study: int = Field(foreign_key="unlogit_study.id")
    number: int
    observer: str = ""
    key: str
    began: datetime = Field(default_factory=now)
    external: str | None = None
    variables: dict[str, str] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False, server_default="{}"))


class Vote(SQLModel, table=True):
    """One answer. Its key is (participant, trial), so that none can be counted twice.

    Attributes:
        trial: place in the participant's own order, from 0.
        left, right: makers of the two alternatives of a comparison as they were shown; empty in a naming trial.
        maker, label: maker of the image of a naming trial and the right name; empty in a comparison.
        chosen: "left" or "right", or the chosen name.
        milliseconds: from when the images were on the screen to the choice.
        shows: how often the trial was put on the screen; above 1 after a reload, which starts the clock anew.
        key: made up by the browser; identifies a vote that is sent twice.
        received: UTC.
    """

    __tablename__ = "unlogit_vote"

    participant: int = Field(foreign_key="unlogit_participant.id", primary_key=True)
    trial: int = Field(primary_key=True)
    place: int
    left: str = ""
    right: str = ""
    maker: str = Field(default="", sa_column=Column(String, nullable=False, server_default=""))
    label: str = Field(default="", sa_column=Column(String, nullable=False, server_default=""))
    chosen: str
    milliseconds: int
    shows: int
    key: str
    received: datetime = Field(default_factory=now)


class Entry(SQLModel, table=True):
    """A page that a participant opened and began or went on with.

    Attributes:
        key: SHA-256 of the secret of the browser, in hex; one participant has several after coming back elsewhere.
        width, height: of the viewport in CSS pixels.
        ratio: device pixels a CSS pixel.
        opened: UTC.
    """

    __tablename__ = "unlogit_entry"

    id: int | None = Field(default=None, primary_key=True)
    participant: int = Field(foreign_key="unlogit_participant.id", index=True)
    key: str = Field(index=True)
    width: int
    height: int
    ratio: float
    opened: datetime = Field(default_factory=now)


class Attention(SQLModel, table=True):
    """The page lost or regained the focus. Its key is what happened when, so that none counts twice.

    Attributes:
        moment: by the participant's clock, in milliseconds since 1970.
        kind: "blur" or "focus".
        trial: that was on the screen, from 0; -1 between trials.
    """

    __tablename__ = "unlogit_attention"

    participant: int = Field(foreign_key="unlogit_participant.id", primary_key=True)
    moment: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    kind: str = Field(primary_key=True)
    trial: int


NEWER = (Entry, Attention)
"""Tables that databases of older versions lack, and get when they are opened."""
TABLES = tuple(str(model.__tablename__) for model in (Study, Picture, Participant, Vote, *NEWER))


class Database:
    """An engine, and how to write with it.

    Args:
        given: a file, or a URL such as postgresql://user:password@host/name.

    Raises:
        UnlogitError: no database can be had there.
    """

    def __init__(self, given: str) -> None:
        url = _url(given)
        self.name = url.render_as_string(hide_password=True)
        self.sqlite = url.get_backend_name() == "sqlite"
        self._file = Path(url.database) if self.sqlite and url.database else None
        options: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS}} if self.sqlite else {}
        try:
            self.engine = create_engine(url, pool_size=16, max_overflow=32, pool_pre_ping=not self.sqlite, **options)
        except (NoSuchModuleError, ImportError) as error:
            raise UnlogitError(f"database '{self.name}': {error}; give a file or a postgresql:// URL") from error
        if self.sqlite:
            event.listen(self.engine, "connect", _prepare)
        # SQLite has one writer at a time, and waits for it by sleeping; threads of one process need not.
        self._turn = threading.Lock() if self.sqlite else nullcontext()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with self._described(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that is committed at the end of the block: what it wrote is then on the disk."""
        with self._described(), self._turn, Session(self.engine, expire_on_commit=False) as session:
            yield session
            session.commit()

    def write(self, statement: Insert) -> None:
        """Run one statement, which is a transaction of itself: a single round trip to the database."""
        with self._described(), self._turn, self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(statement)

    def create(self) -> None:
        """Make the tables, unless they are there, and the folder of a file."""
        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._described():
            if self._has_tables():
                self.check()
            else:
                SQLModel.metadata.create_all(self.engine, [SQLModel.metadata.tables[name] for name in TABLES])

    def check(self) -> None:
        """Upgrade a database of an older version; raise `UnlogitError` where its tables are those of another one."""
        with self._described():
            if not self._has_tables():
                raise UnlogitError(f"database '{self.name}' holds no study; {_MAKE}")
            self._upgrade()
            inspector = inspect(self.engine)
            differences = [text for name in TABLES if (text := _difference(inspector, name))]
        if differences:
            raise UnlogitError(
                f"database '{self.name}' was written by another version of unlogit ({differences[0]}): "
                "use that version, or make a new study in another --database"
            )

    def _upgrade(self) -> None:
        """Add what databases of older versions lack: `NEWER` tables, and columns that are empty or have a default."""
        inspector = inspect(self.engine)
        statements = []
        for name in TABLES:
            if not inspector.has_table(name):
                continue
            columns = {column["name"] for column in inspector.get_columns(name)}
            for column in SQLModel.metadata.tables[name].columns:
                optional = column.server_default is not None or (column.nullable and not column.primary_key)
                if column.name not in columns and optional:
                    added = CreateColumn(column).compile(dialect=self.engine.dialect)  # type: ignore[no-untyped-call]
                    statements.append(f"ALTER TABLE {name} ADD COLUMN {added}")
        missing = [model for model in NEWER if not inspector.has_table(str(model.__tablename__))]
        if not statements and not missing:
            return
        with self._turn, self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
            tables = [SQLModel.metadata.tables[str(model.__tablename__)] for model in NEWER]
            SQLModel.metadata.create_all(connection, tables)
            for index in SQLModel.metadata.tables[str(Participant.__tablename__)].indexes:
                index.create(connection, checkfirst=True)

    def _has_tables(self) -> bool:
        inspector = inspect(self.engine)
        return any(inspector.has_table(name) for name in TABLES)

    def studies(self) -> list[Study]:
        """All studies, oldest first; raises `UnlogitError` where there is none."""
        if self._file and not self._file.is_file():
            raise UnlogitError(f"database '{self._file}': no such file; {_MAKE}")
        self.check()
        with self.reading() as session:
            found = list(session.exec(select(Study).order_by(Study.id)))  # type: ignore[arg-type]
        if not found:
            raise UnlogitError(f"database '{self.name}' holds no study; {_MAKE}")
        return found

    def study(self, name: str | None = None) -> Study:
        """The study of that name, or the only one."""
        found = {study.name: study for study in self.studies()}
        if name is None:
            if len(found) > 1:
                raise UnlogitError(f"database '{self.name}' holds several studies: give --study {'|'.join(found)}")
            return next(iter(found.values()))
        if name not in found:
            raise unknown("study", name, found)
        return found[name]

    @contextmanager
    def _described(self) -> Iterator[None]:
        """Any fault of the database, a full disk included, as an `UnlogitError`; but not what a constraint refuses."""
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            reason = str(error.orig).strip().splitlines()[0]
            raise UnlogitError(f"database '{self.name}': {reason}") from error


def remove_answers(session: Session, study: Study, observer: str) -> None:
    """Remove all participants of an observer that is not a person, with their answers."""
    assert observer
    rows = select(Participant.id).where(Participant.study == study.id, Participant.observer == observer)
    for row in session.exec(rows).all():
        session.exec(delete(Vote).where(col(Vote.participant) == row))
        session.exec(delete(Participant).where(col(Participant.id) == row))


def _difference(inspector: Inspector, name: str) -> str:
    """Return how a table differs from this version's, or an empty text."""
    table = SQLModel.metadata.tables[name]
    if not inspector.has_table(name):
        return f"table {name} is missing"
    ours, theirs = set(table.columns.keys()), {column["name"] for column in inspector.get_columns(name)}
    if ours != theirs:
        return f"columns {', '.join(sorted(ours ^ theirs))} of table {name}"
    keys = set(table.primary_key.columns.keys())
    unique = {frozenset(found["column_names"]) for found in inspector.get_unique_constraints(name)}
    wanted = {frozenset(one.columns.keys()) for one in table.constraints if isinstance(one, UniqueConstraint)}
    if set(inspector.get_pk_constraint(name)["constrained_columns"]) != keys or not wanted <= unique:
        return f"keys of table {name}"
    return ""


_MAKE = "make a study with unlogit study create"


def _url(given: str) -> URL:
    if "://" not in given:
        return URL.create("sqlite", database=expand_user(given))
    try:
        url = make_url(given)
    except ArgumentError as error:
        # Without the text itself, in which a password may stand.
        raise UnlogitError("database: not a URL of the form postgresql://user:password@host:port/name") from error
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    return url


def _prepare(connection: Any, _: Any) -> None:
    """Let readers read beside a writer (WAL), and have a commit on the disk before it is acknowledged (EXTRA).

    EXTRA is FULL, and holds as well where a file system does not allow WAL. macOS needs `fullfsync` for it.
    """
    for pragma in (
        *("journal_mode=WAL", "synchronous=EXTRA", "fullfsync=ON", "checkpoint_fullfsync=ON"),
        *(f"busy_timeout={BUSY_SECONDS * 1000}", "foreign_keys=ON"),
    ):
        connection.execute(f"PRAGMA {pragma}")
