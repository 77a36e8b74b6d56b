"""Making a study: its images are rendered once, into the database, so that serving it needs no network."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import quote

import tyro

from unlogit.errors import UnlogitError, one_line, unknown
from unlogit.outside import all_whole, in_order, short_names
from unlogit.runtime.progress import announce, announce_torch
from unlogit.settings import Bounds, Checked, Count, Several, Whole
from unlogit.web.study import COMPARISON, NAMING, ORIGINAL, OTHER

if TYPE_CHECKING:
    import numpy as np

    from unlogit.web.study.tables import Study

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
ADDRESS = re.compile(r"[0-9a-f]{24}")
PARAMETER = re.compile(r"[A-Za-z0-9_-]{1,64}")
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
CONSENT_BYTES = 1_000_000
"""The longest consent text."""
NAME_LENGTH = 100
"""The longest class name that can be chosen, in characters: it stands on a button."""
TEXTS = {
    COMPARISON: ("Which is closer?", "Which of the two is more like the original?"),
    NAMING: ("What is in the image?", "Which of these is in the image?"),
}
"""Title and question, unless others are given."""
_CHOICES = 3  # a stream of chance apart from those of `design`


@dataclass(frozen=True)
class CreateConfig(Checked):
    """Create a study: render the reconstructions and store them with the questions in a database."""

    inverters: tyro.conf.Positional[tuple[str, ...]]
    """Inverters, all of one image size: two or more for a comparison, one or more for naming. Each is a folder such as
    RUN/inverter or the name of a packaged inverter; NAME=FOLDER sets the name in the results."""
    images: str
    """Images that no inverter was trained on, as source:name, e.g. scenes:test or folder:photos."""
    trial: Literal["comparison", "naming"] = "comparison"
    """Kind of trial. "comparison" asks which of two reconstructions is closer to the original; "naming" shows one
    image, a reconstruction or an original, and asks for its class. Naming needs labelled images."""
    name: str = "study"
    """Name of the study, which ends the participants' link: 1 to 64 lower-case letters, digits and dashes."""
    database: str = "study.sqlite"
    """Database: a SQLite file, or a URL such as postgresql://user:password@host/name. One database can hold several
    studies."""
    num_images: Several = 64
    """Number of images, drawn at random from the source."""
    pairs: tuple[str, ...] = ()
    """Pairs of inverters to compare, each as FIRST:SECOND. Default: all pairs."""
    trials: Count | None = None
    """Number of trials per participant, not counting attention checks. Default: the number of images."""
    choices: Annotated[int, Bounds(2, 26)] = 16
    """Number of class names to choose from in a naming trial, 2 to 26: the image's class and random other classes."""
    checks: Whole = 4
    """Number of attention checks per participant, in addition to the trials. In a comparison, a check offers the
    original itself and a different image; in a naming study, it shows no image and names the class to choose."""
    title: str | None = None
    """Heading of the participants' page. Default: "Which is closer?" (comparison) or "What is in the image?"
    (naming)."""
    question: str | None = None
    """Question of every trial. Default: "Which of the two is more like the original?" (comparison) or "Which of these
    is in the image?" (naming)."""
    consent: Path | None = None
    """UTF-8 text file with the consent form that participants accept before they begin; empty lines separate
    paragraphs. Default: no consent form."""
    thanks: str = "Thank you. All your answers have arrived, and you can close this page."
    """Text shown after the last trial; it can include a completion code."""
    participant_id: tuple[str, ...] = ("PROLIFIC_PID", "workerId")
    """Query parameters of the participants' link that carry the participant's ID; the first one present is used. A
    participant who returns with the same ID continues where they stopped, in any browser."""
    variables: tuple[str, ...] = ("STUDY_ID", "SESSION_ID", "assignmentId", "hitId")
    """Further query parameters of the link to store with the answers."""
    redirect: str = ""
    """HTTPS address to which participants are sent at the end, e.g.
    https://app.prolific.com/submissions/complete?cc=CODE. {NAME} is replaced by the query parameter NAME of the link.
    Default: no redirect."""
    rendering: Literal["smooth", "pixelated"] = "smooth"
    """How browsers enlarge small images: "smooth" interpolates, "pixelated" keeps square pixels."""
    seed: Annotated[int, Bounds(0, 2**31 - 1)] = 0
    """Random seed of the inverters' noise, and of the choice and order of each participant's trials."""
    device: str = "auto"
    """Device to run on: "auto", "cpu", "cuda", "cuda:1" or "mps". "auto" is a CUDA GPU if there is one, else the
    CPU."""
    trust_code: bool = False
    """Allow opened folders to name classifiers that run code (python:). Sources named in the options are always
    allowed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not NAME.fullmatch(self.name):
            raise UnlogitError(
                f"study name '{self.name}': must be 1 to 64 lower-case letters, digits and dashes, such as scenes-64"
            )
        if self.trial == NAMING and self.pairs:
            raise UnlogitError(f"--pairs {self.pairs[0]}: a naming trial shows one image; leave --pairs out")
        least = 1 if self.trial == NAMING else 2
        if len(self.inverters) < least:
            raise UnlogitError(
                f"{len(self.inverters)} inverters: a {self.trial} study needs at least {least}; write "
                f"unlogit study create {' '.join(['INVERTER'] * least)} --images ..."
            )
        for name in (*self.participant_id, *self.variables):
            if not PARAMETER.fullmatch(name):
                raise UnlogitError(f"parameter '{name[:80]}' of the link: must be letters, digits, _ and -, at most 64")
        check_redirect(self.redirect, (*self.participant_id, *self.variables))
        for text in (self.title, self.question, self.thanks, self.images, self.redirect, *self.inverters):
            if text is not None and not _is_unicode(text):
                raise UnlogitError(f"text {text[:60]!a}: must be UTF-8, as a terminal of a UTF-8 locale writes it")
        read_consent(self.consent)


def create(config: CreateConfig) -> tuple[Study, str]:
    """Make the study that `config` asks for.

    Returns:
        the study, and the researcher's token, which is kept nowhere.

    Raises:
        UnlogitError: something given cannot be opened, or there is a study of that name. No study is written then.
    """
    announce_torch()
    from unlogit.analyses import Evidence
    from unlogit.images import open_images
    from unlogit.methods import Inverter, called, open_inverter
    from unlogit.runtime.device import pick_device

    device = pick_device(config.device)
    source = open_images(config.images)
    inverters: dict[str, Inverter] = {}
    for given in config.inverters:
        name, folder = called(given)
        if name in inverters or name in (ORIGINAL, OTHER):
            raise UnlogitError(f"inverter '{name}': this name is taken; write NAME=FOLDER to give it another")
        inverters[name] = open_inverter(folder, config.trust_code).to(device)
    naming = config.trial == NAMING
    pairs = [] if naming else paired(tuple(inverters), config.pairs)
    evidence = Evidence(source, inverters, limit=config.num_images, seed=config.seed)
    labels = evidence.labels.tolist() if naming else []
    if naming:
        check_labels(labels, source.class_names, config)
    announce(f"reconstructing {len(evidence.originals):,} images by {', '.join(inverters)}")
    pictures = {ORIGINAL: evidence.originals} | {name: evidence.reconstructed(name).images for name in inverters}
    pngs = {
        maker: [_png(picture.permute(1, 2, 0).numpy()) for picture in made.bytes] for maker, made in pictures.items()
    }
    return store(config, pairs, pngs, labels, source.class_names)


def store(
    config: CreateConfig,
    pairs: Sequence[tuple[str, str]],
    pngs: Mapping[str, Sequence[bytes]],
    labels: Sequence[int] = (),
    class_names: Sequence[str] = (),
) -> tuple[Study, str]:
    """Write a study whose images are rendered.

    Args:
        config: what participants are asked.
        pairs: of makers, in a comparison.
        pngs: by maker, `ORIGINAL` included, one PNG a place; in a naming study all of them are conditions.
        labels: of each place, the label of the original, in a naming study.
        class_names: by label.

    Returns:
        the study, and the researcher's token.
    """
    from sqlalchemy.exc import DBAPIError, IntegrityError

    from unlogit.web.study.tables import Database, Picture, Study

    places, naming = len(pngs[ORIGINAL]), config.trial == NAMING
    assert all(len(made) == places for made in pngs.values())
    trials = places if config.trials is None else config.trials
    most = places * (1 if naming else len(pairs))
    if not 1 <= trials <= most:
        product = "the number of images" if naming else f"{places} images x {len(pairs)} pairs"
        raise UnlogitError(f"trials {trials}: must be 1 to {most}, {product}")
    if config.checks > trials:
        raise UnlogitError(f"checks {config.checks}: must be at most as many as the {trials} trials")
    names = short_names(tuple(class_names))
    choices = draw_choices(labels, names, config.choices, config.seed) if naming else []
    title, question = TEXTS[config.trial]
    token = secrets.token_urlsafe(32)
    study = Study(
        name=config.name,
        title=title if config.title is None else config.title,
        question=question if config.question is None else config.question,
        consent=read_consent(config.consent),
        thanks=config.thanks,
        rendering=config.rendering,
        images=config.images,
        pictures=places,
        pairs=[list(pair) for pair in pairs],
        trials=trials,
        checks=config.checks,
        seed=config.seed,
        token=digest(token),
        identity=list(config.participant_id),
        variables=list(config.variables),
        redirect=config.redirect,
        trial=config.trial,
        conditions=list(pngs) if naming else [],
        labels=[names[label] for label in labels] if naming else [],
        choices=choices,
    )
    database = Database(config.database)
    try:
        database.create()
        with database.writing() as session:
            session.add(study)
            session.flush()
            assert study.id is not None
            session.add_all(
                Picture(address=secrets.token_hex(12), study=study.id, place=place, maker=maker, png=png)
                for maker, made in pngs.items()
                for place, png in enumerate(made)
            )
    except IntegrityError as error:
        raise UnlogitError(
            f"database '{database.name}' already holds a study '{config.name}': give another --name"
        ) from error
    except DBAPIError as error:
        raise UnlogitError(
            f"database '{database.name}' cannot be written ({one_line(error.orig or error)}): "
            "free disk space if its disk is full, and run the same command again"
        ) from error
    return study, token


def check_labels(labels: Sequence[int], class_names: Sequence[str], config: CreateConfig) -> None:
    """Raise `UnlogitError` unless the images of a naming study have labels, and names to choose from."""
    if min(labels) < 0 or not class_names:
        raise UnlogitError(f"images '{config.images}': some have no label, which naming trials need")
    if len(class_names) < config.choices:
        raise UnlogitError(
            f"choices {config.choices}: must be at most {len(class_names)}, the number of classes of '{config.images}'"
        )
    if long := [name for name in short_names(tuple(class_names)) if len(name) > NAME_LENGTH]:
        raise UnlogitError(f"class name '{long[0][:60]}...': must have at most {NAME_LENGTH} characters")


def draw_choices(labels: Sequence[int], names: Sequence[str], count: int, seed: int) -> list[list[str]]:
    """Return the names to choose from for each image: that of its class and others drawn at random, sorted.

    Args:
        labels: of the images.
        names: different names, by label.
        count: number of choices, at most the number of names.
        seed: random seed of the others.
    """
    import numpy as np

    choices = []
    for place, label in enumerate(labels):
        others = np.delete(np.arange(len(names)), label)
        drawn = np.random.default_rng([seed, _CHOICES, place]).choice(others, count - 1, replace=False)
        chosen = [names[index] for index in (label, *drawn)]
        choices.append(in_order(chosen) if all_whole(chosen) else sorted(chosen, key=str.casefold))
    return choices


def read_consent(file: Path | None) -> str:
    """Return the consent text, empty where there is no file; raises `UnlogitError` where it is no UTF-8 text."""
    if file is None:
        return ""
    if not file.is_file():
        raise UnlogitError(f"consent '{file}': no such file")
    if file.stat().st_size > CONSENT_BYTES:
        raise UnlogitError(f"consent '{file}': {file.stat().st_size:,} bytes, at most {CONSENT_BYTES:,} are allowed")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnlogitError(f"consent '{file}': byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
    if "\0" in text:  # As ASCII letters in UTF-16 are, for which UTF-8 is no error.
        raise UnlogitError(f"consent '{file}': it holds zero bytes; save the file as UTF-8")
    return text.strip()


def check_redirect(template: str, names: Sequence[str]) -> None:
    """Raise `UnlogitError` unless `template` is empty or an https address whose host holds no placeholder."""
    if not template:
        return

    from unlogit.web.guard import host_of

    scheme, _, rest = template.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if scheme != "https" or not host_of(host) or re.search(r"[{}\s\\\x00-\x20]", host) or not template.isprintable():
        raise UnlogitError(f"--redirect '{template[:200]}': must be an address such as https://HOST/PATH?id={{NAME}}")
    for name in PLACEHOLDER.findall(template):
        if name not in names:
            raise unknown("parameter in --redirect", name[:80], names)


def fill_redirect(template: str, values: Mapping[str, str]) -> str:
    """Return the address with every {NAME} replaced by its value, percent-encoded; empty where there is none."""
    return PLACEHOLDER.sub(lambda found: quote(values.get(found[1], ""), safe=""), template)


def digest(secret: str) -> str:
    """SHA-256 in hex: what is kept of a secret of full entropy."""
    return hashlib.sha256(secret.encode()).hexdigest()


def paired(names: Sequence[str], given: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs as FIRST:SECOND, or all of them."""
    if not given:
        return list(combinations(names, 2))
    pairs: list[tuple[str, str]] = []
    for text in given:
        first, colon, second = text.partition(":")
        if not colon or first == second:
            raise UnlogitError(f"pair '{text}': must be FIRST:SECOND, two of {', '.join(names)}")
        for name in (first, second):
            if name not in names:
                raise unknown("inverter in a pair", name, names)
        if {first, second} in [set(pair) for pair in pairs]:
            raise UnlogitError(f"pair '{text}' is given twice")
        pairs.append((first, second))
    return pairs


def _is_unicode(text: str) -> bool:
    """Whether no byte of a command-line argument was undecodable, which no database could store."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
