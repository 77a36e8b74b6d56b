"""A study's answers and results for further use: CSV, JSON, the paper's Table 1, and the lpips 2AFC layout."""

from __future__ import annotations

import dataclasses
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func
from sqlmodel import col, select

from unlogit.files import Ours, check_replaceable, marked, replacing, report_disk_full, to_json, unique_name
from unlogit.spreadsheet import to_csv
from unlogit.statistics import Estimate
from unlogit.web.study import COMPARISON, NAMING, ORIGINAL, SIMULATED
from unlogit.web.study.design import ComparisonTrial, NamingTrial
from unlogit.web.study.results import Judgement, Observation, Preference, Results, subject
from unlogit.web.study.tables import Attention, Database, Entry, Participant, Picture, Study, Vote

VOTES = {
    kind: f"subject,automated,order,place,{asked},attention_check,correct,milliseconds,shows,received,simulated"
    for kind, asked in {COMPARISON: "left,right,chosen_side,chosen", NAMING: "shown,class,chosen"}.items()
}
PARTICIPANTS = "subject,simulated,id,began,answered,entries,width,height,pixel_ratio,blurs"
ATTENTION = "subject,moment,event,trial"
IMAGES = {
    COMPARISON: "observer,automated,place,first,second,chose_first,n",
    NAMING: "observer,automated,place,shown,class,named,n,most_chosen",
}
TABLE = (
    "study,images,first,second,observer,automated,subjects,judgements,share,low,high,subjects_low,subjects_high,"
    "p,agreement,alpha,p_holm,verdict"
)
ACCURACY = (
    "study,images,shown,observer,automated,subjects,judgements,accuracy,low,high,subjects_low,subjects_high,chance"
)
"""Headers of the CSV files."""
COMMENT = b"an unlogit study"
NONE = "no answers yet"
OURS: dict[str, Ours] = {
    # Before the last columns were added, too.
    "votes.csv": marked(*(header.rpartition(",")[0].encode() for header in VOTES.values())),
    "participants.csv": marked(PARTICIPANTS.encode()),
    "attention.csv": marked(ATTENTION.encode()),
    "images.csv": marked(*(header.encode() for header in IMAGES.values())),
    "results.json": marked(b'{\n "study": {\n  "name": "'),
    "table1.csv": marked(TABLE.removesuffix(",p_holm,verdict").encode()),
    "accuracy.csv": marked(ACCURACY.encode()),
    "table1.md": marked(b"| study | choice | people |"),
    "2afc.zip": marked(b"-2afc/", COMMENT),
}
"""What recognises an earlier export, which may be replaced; a zip without answers holds its comment alone."""
STUDY_FIELDS = (
    *("name", "title", "question", "images", "pictures", "pairs", "trials", "checks", "seed", "rendering"),
    *("trial", "conditions", "labels", "choices"),
)


def votes_csv(database: Database, study: Study) -> bytes:
    """One row an answer, of all subjects, attention checks included."""
    rows = [
        (
            one.subject,
            int(one.automated),
            one.order,
            one.trial.place,
            *_asked(one),
            int(one.trial.check),
            "" if one.correct is None else int(one.correct),
            "" if one.automated else one.milliseconds,
            "" if one.automated else one.shows,
            one.received,
            int(one.simulated),
        )
        for one in Results.read(database, study).judgements
    ]
    return _csv(VOTES[study.trial].split(","), rows)


def _asked(one: Judgement) -> tuple[str, ...]:
    """What was shown and chosen."""
    if isinstance(one.trial, NamingTrial):
        return (one.trial.maker, one.trial.label, one.chosen)
    assert isinstance(one.trial, ComparisonTrial)
    return (one.trial.left, one.trial.right, one.chosen, one.maker)


def participants_csv(database: Database, study: Study) -> bytes:
    """One row a participant: their id and variables of the link, the last viewport, and how often they looked away."""
    with database.reading() as session:
        people = session.exec(
            select(Participant)
            .where(Participant.study == study.id, col(Participant.observer).in_(("", SIMULATED)))
            .order_by(col(Participant.observer), col(Participant.number))
        ).all()
        rows = [participant.id for participant in people]

        def counts(model: type[Vote] | type[Attention], *which: Any) -> dict[int, int]:
            asked = select(model.participant, func.count()).where(col(model.participant).in_(rows), *which)
            return dict(session.exec(asked.group_by(col(model.participant))).all())

        votes, blurs = counts(Vote), counts(Attention, Attention.kind == "blur")
        entries: dict[int, list[Entry]] = {}
        for entry in session.exec(select(Entry).where(col(Entry.participant).in_(rows)).order_by(col(Entry.id))):
            entries.setdefault(entry.participant, []).append(entry)
    lines = []
    for who in people:
        assert who.id is not None
        opened = entries.get(who.id, [])
        screen = (opened[-1].width, opened[-1].height, opened[-1].ratio) if opened else ("", "", "")
        simulated, began = int(who.observer == SIMULATED), who.began.isoformat(timespec="milliseconds")
        row = (subject(who), simulated, who.external or "", began, votes.get(who.id, 0), len(opened), *screen)
        lines.append((*row, blurs.get(who.id, 0), *(who.variables.get(name, "") for name in study.variables)))
    return _csv([*PARTICIPANTS.split(","), *study.variables], lines)


def attention_csv(database: Database, study: Study) -> bytes:
    """One row a loss or return of the page's focus, with the participant's clock in milliseconds since 1970."""
    asked = (
        select(Attention, Participant)
        .join(Participant, col(Participant.id) == col(Attention.participant))
        .where(Participant.study == study.id)
        .order_by(col(Participant.number), col(Attention.moment))
    )
    with database.reading() as session:
        rows = [(subject(who), seen.moment, seen.kind, seen.trial) for seen, who in session.exec(asked)]
    return _csv(ATTENTION.split(","), rows)


def images_csv(database: Database, study: Study) -> bytes:
    """One row per image, pair or condition, and kind of observer."""
    rows = [
        (seen.observer, int(seen.automated), *dataclasses.astuple(item))
        for seen in Results.read(database, study).observations
        for item in (seen.named if study.trial == NAMING else seen.items)
    ]
    return _csv(IMAGES[study.trial].split(","), rows)


def results_json(database: Database, study: Study) -> bytes:
    """Everything but the images."""
    found = Results.read(database, study)
    contents = {
        "study": {field: getattr(study, field) for field in STUDY_FIELDS},
        "observations": [dataclasses.asdict(seen) for seen in found.observations],
        "judgements": [
            dataclasses.asdict(one) | {"maker": one.maker, "correct": one.correct} for one in found.judgements
        ],
    }
    return (to_json(contents, indent=1) + "\n").encode()


def two_afc(database: Database, study: Study) -> bytes:
    """People's answers as a zip in the layout of the lpips 2AFC data (Zhang et al. 2018).

    A folder a pair, FIRST-SECOND/ (with a number where two pairs would have the same name), with ref/, p0/ (of FIRST)
    and p1/ (of SECOND) of PNG files of one name, and judge/ of .npy files of one float32: the share of answers that
    prefer p1.
    """
    people = Results.read(database, study).observations[0]
    folders: dict[tuple[str, str], str] = {}
    for first, second in study.pairs:
        folders[first, second] = unique_name(f"{_slug(first)}-{_slug(second)}", folders.values())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, database.reading() as session:
        archive.comment = COMMENT
        for item in people.items:
            folder = f"{study.name}-2afc/{folders[item.first, item.second]}"
            for part, maker in (("ref", ORIGINAL), ("p0", item.first), ("p1", item.second)):
                asked = select(Picture.png).where(
                    Picture.study == study.id, Picture.place == item.place, Picture.maker == maker
                )
                archive.writestr(f"{folder}/{part}/{item.place:06}.png", session.exec(asked).one())
            share = io.BytesIO()
            np.save(share, np.array([1 - item.chosen / item.n], np.float32))
            archive.writestr(f"{folder}/judge/{item.place:06}.npy", share.getvalue())
    return buffer.getvalue()


Export = tuple[str, Callable[[Database, Study], bytes]]
SHARED: dict[str, Export] = {
    "votes.csv": ("text/csv", votes_csv),
    "participants.csv": ("text/csv", participants_csv),
    "attention.csv": ("text/csv", attention_csv),
    "images.csv": ("text/csv", images_csv),
    "results.json": ("application/json", results_json),
}
EXPORTS: dict[str, dict[str, Export]] = {
    COMPARISON: {
        **SHARED,
        "table1.csv": ("text/csv", lambda database, study: table_csv([Results.read(database, study)])),
        "2afc.zip": ("application/zip", two_afc),
    },
    NAMING: {
        **SHARED,
        "accuracy.csv": ("text/csv", lambda database, study: accuracy_csv([Results.read(database, study)])),
    },
}
"""By kind of trial and name of the file: its media type, and what makes it."""


def write(database: Database, study: Study, folder: Path) -> list[Path]:
    """Write every export into a folder; raises `UnlogitError` where a file there is somebody else's."""
    return _write(folder, {name: partial(make, database, study) for name, (_, make) in EXPORTS[study.trial].items()})


def write_table(studies: Sequence[Results], folder: Path) -> None:
    """Write table1.md, and a CSV file per kind of study; raises `UnlogitError` where one is not of this program."""
    contents = {"table1.md": lambda: table_markdown(studies).encode()}
    kinds = {found.study.trial for found in studies}
    if COMPARISON in kinds:
        contents["table1.csv"] = lambda: table_csv(studies)
    if NAMING in kinds:
        contents["accuracy.csv"] = lambda: accuracy_csv(studies)
    _write(folder, contents)


def _write(folder: Path, contents: Mapping[str, Callable[[], bytes]]) -> list[Path]:
    for name in contents:
        check_replaceable(folder / name, OURS[name])
    with report_disk_full(folder):
        for name, content in contents.items():
            with replacing(folder / name, OURS[name]) as fresh:
                fresh.write_bytes(content())
    return [folder / name for name in contents]


def table_csv(studies: Sequence[Results]) -> bytes:
    """The paper's Table 1 with everything that belongs to it: one row a study, pair and kind of observer."""
    rows = []
    for found in studies:
        for pair in found.pairs:
            for seen in found.observations:
                row: list[Any] = [found.study.name, found.study.images, *pair, seen.observer, int(seen.automated)]
                one = seen.preference(pair)
                if one is not None:
                    ends = (one.subjects.low, one.subjects.high) if one.subjects else (None, None)
                    row += [seen.subjects, one.share.n, one.share.value, one.share.low, one.share.high, *ends]
                    row += [one.p, one.agreement, one.alpha, one.p_holm, one.verdict]
                else:
                    row += [seen.subjects, 0] + [None] * 10
                rows.append(row)
    return _csv(TABLE.split(","), rows)


def accuracy_csv(studies: Sequence[Results]) -> bytes:
    """One row per naming study, condition and kind of observer."""
    rows = []
    for found in studies:
        for maker in found.study.conditions:
            for seen in found.observations:
                row: list[Any] = [found.study.name, found.study.images, maker, seen.observer, int(seen.automated)]
                one = seen.accuracy(maker)
                if one is not None:
                    ends = (one.subjects.low, one.subjects.high) if one.subjects else (None, None)
                    row += [seen.subjects, one.share.n, one.share.value, one.share.low, one.share.high, *ends]
                else:
                    row += [seen.subjects, 0] + [None] * 5
                rows.append([*row, found.chance])
    return _csv(ACCURACY.split(","), rows)


def table_markdown(studies: Sequence[Results]) -> str:
    """The paper's Table 1: pairs, or conditions of a naming study, in rows; people and automated observers beside."""
    metrics = sorted({seen.observer for found in studies for seen in found.observations if seen.automated})
    people = ["people"]
    if any(seen.observer == SIMULATED for found in studies for seen in found.observations):
        people.append(SIMULATED)
    lines = [
        "| study | choice |" + "".join(f" {name} |" for name in (*people, *(f"automated: {name}" for name in metrics))),
        "|---|---|" + "--:|" * (len(people) + len(metrics)),
    ]
    for found in studies:
        by = {seen.observer: seen for seen in found.observations}
        for first, second in found.pairs:
            cells = [cell(by.get(name), (first, second)) for name in (*people, *metrics)]
            lines.append(f"| {found.study.name} | {first} over {second} | " + " | ".join(cells) + " |")
        for maker in found.study.conditions:
            cells = [accuracy_cell(by.get(name), maker) for name in (*people, *metrics)]
            lines.append(f"| {found.study.name} | class named: {maker} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(seen: Observation | None, pair: tuple[str, str]) -> str:
    """A preference in one line, or that there is none yet."""
    one = seen.preference(pair) if seen else None
    if seen is None or one is None:
        return NONE
    return f"{percent(one.share)}, n = {one.share.n}{_people(seen)}, {probability(one)}"


def accuracy_cell(seen: Observation | None, maker: str) -> str:
    """An accuracy in one line with its interval over participants, or that there is none yet."""
    one = seen.accuracy(maker) if seen else None
    if seen is None or one is None:
        return NONE
    return f"{percent(one.subjects or one.share)}, n = {one.share.n}{_people(seen)}"


def _people(seen: Observation) -> str:
    return "" if seen.automated else f", {seen.subjects} {'person' if seen.subjects == 1 else 'people'}"


def percent(estimate: Estimate) -> str:
    """Such as 76.5 % (70.9 to 81.3)."""
    return f"{estimate.value:.1%} ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})".replace("%", " %")


def probability(one: Preference) -> str:
    """Return the test's corrected p-value as papers write it, such as 'p = 0.029 (Holm)'."""
    return f"p {'< 0.001' if one.p_holm < 0.001 else f'= {one.p_holm:.3f}'} (Holm)"


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    return to_csv(header, rows).encode()


def _slug(name: str) -> str:
    """A maker's name as the name of a folder."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "_"
