"""`unlogit study`: from inverters to a table, by the command line alone."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sqlmodel import select

from unlogit import cli
from unlogit.analyses import Evidence
from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError
from unlogit.images import open_images
from unlogit.methods import GeneratorInverter, open_inverter
from unlogit.methods.biggan import GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.representation import Representation
from unlogit.web.study import ORIGINAL, tables
from unlogit.web.study.create import digest
from unlogit.web.study.results import Results
from unlogit.web.study.tables import Database, Picture

SIZE = 32


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_classifier_spec: str) -> list[str]:
    """Two inverters with random weights."""
    found = []
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        representation = Representation(open_classifier(tiny_classifier_spec))
        generator = Generator(representation.dim, GeneratorConfig(SIZE, channels=2, noise=8, attention=None))
        folder = tmp_path_factory.mktemp("runs") / name / "inverter"
        GeneratorInverter(representation, generator, {"deviations": []}, name).save(folder)
        found.append(str(folder))
    return found


def failed(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """What a command says that must fail with one line."""
    assert cli.main(["study", *map(str, args)]) == 2
    *stages, said = capsys.readouterr().err.splitlines(keepends=True)
    assert all(line.endswith(" ...\n") for line in stages)
    assert said.startswith("unlogit: error: ")
    return said


def test_from_inverters_to_the_table(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "new folder" / "study.sqlite")
    consent = tmp_path / "consent.txt"
    consent.write_text("Agreed.")
    given = ["--images", "scenes:test", "--num-images", "6", "--checks", "1", "--consent", str(consent)]
    assert cli.main(["study", "create", *folders, *given, "--database", path]) == 0
    said = capsys.readouterr().out
    database = Database(path)
    study = database.study()
    assert digest(said.split()[-1]) == study.token
    assert (study.pictures, study.trials, study.checks, study.consent) == (6, 6, 1, "Agreed.")
    with database.reading() as session:
        pictures = session.exec(select(Picture)).all()
    assert {(p.place, p.maker) for p in pictures} == {(k, m) for k in range(6) for m in (ORIGINAL, "first", "second")}
    assert {Image.open(io.BytesIO(p.png)).size for p in pictures} == {(SIZE, SIZE)}

    for _ in range(2):  # The second time takes the place of the first.
        assert cli.main(["study", "observe", "pixel_error", "ssim", "--database", path]) == 0
    capsys.readouterr()
    found = Results.read(database, study)
    assert [seen.observer for seen in found.observations] == ["people", "pixel_error", "ssim"]
    assert [seen.automated for seen in found.observations] == [False, True, True]
    by_place = {(p.place, p.maker): np.asarray(Image.open(io.BytesIO(p.png))) / 255 for p in pictures}
    errors = {
        (k, m): float(np.square(by_place[k, m] - by_place[k, ORIGINAL]).mean())
        for k in range(6)
        for m in ("first", "second")
    }
    assert [item.chosen for item in found.observations[1].items] == [
        int(errors[k, "first"] < errors[k, "second"]) for k in range(6)
    ]

    out = tmp_path / "out"
    assert cli.main(["study", "table", path, "--out", str(out)]) == 0
    table = capsys.readouterr().out
    assert (out / "table1.md").read_text() == table
    header, _, row = table.splitlines()
    assert header == "| study | choice | people | automated: pixel_error | automated: ssim |"
    assert "first over second | no answers yet |" in row and "n = 6" in row
    rows = list(csv.DictReader((out / "table1.csv").read_text().splitlines()))
    assert [(r["observer"], r["automated"], r["judgements"]) for r in rows] == [
        ("people", "0", "0"),
        ("pixel_error", "1", "6"),
        ("ssim", "1", "6"),
    ]
    # The two metrics are one family, and the table shows the corrected p.
    p = sorted(float(r["p"]) for r in rows[1:])
    corrected = sorted(float(r["p_holm"]) for r in rows[1:])
    assert corrected == pytest.approx([min(1, 2 * p[0]), min(1, max(2 * p[0], p[1]))])
    assert f"p = {float(rows[1]['p_holm']):.3f} (Holm)" in row
    assert {r["verdict"] for r in rows} == {"", "not significant"}

    assert cli.main(["study", "results", "--database", path, "--out", str(out)]) == 0
    assert "0 participants included" in capsys.readouterr().out
    told = json.loads((out / "results.json").read_text())
    assert "token" not in told["study"] and len(told["judgements"]) == 12
    assert {file.name for file in out.iterdir()} == {
        *("participants.csv", "attention.csv"),
        *("votes.csv", "images.csv", "results.json", "table1.csv", "table1.md", "2afc.zip"),
    }


def test_from_one_inverter_to_named_images(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = str(tmp_path / "study.sqlite"), tmp_path / "out"
    given = ["--images", "scenes:test", "--num-images", "6", "--trial", "naming", "--choices", "8", "--database", path]
    assert cli.main(["study", "create", folders[0], *given, "--seed", "5"]) == 0
    assert "2 conditions (original, first), 8 choices" in capsys.readouterr().out
    study = Database(path).study()
    scenes = open_images("scenes:test")
    assert (study.pictures, study.pairs, study.conditions) == (6, [], [ORIGINAL, "first"])
    assert [len(names) for names in study.choices] == [8] * 6
    assert all(label in names for label, names in zip(study.labels, study.choices, strict=True))
    images = Evidence(scenes, {"first": open_inverter(folders[0])}, limit=6, seed=5)
    assert study.labels == [scenes.class_names[label] for label in images.labels.tolist()]
    assert "--trial comparison" in failed(capsys, "observe", "ssim", "--database", path)
    for _ in range(2):  # The second time finds what the first one wrote.
        assert cli.main(["study", "table", path, "--out", str(out)]) == 0
    assert "| study | class named: original | no answers yet |" in (out / "table1.md").read_text()
    assert {file.name for file in out.iterdir()} == {"table1.md", "accuracy.csv"}


def test_exports_replace_their_own_files_alone(
    tmp_path: Path, make_study: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = str(tmp_path / "study.sqlite"), tmp_path / "out"
    make_study(path)
    results, table = (
        ["study", *args, "--out", str(out)] for args in (["results", "--database", path], ["table", path])
    )
    for command in (results, table):
        assert [cli.main(command) for _ in range(2)] == [0, 0], "the second time it finds what the first one wrote"
    for file in sorted(out.iterdir()):
        ours = file.read_bytes()
        others = {p.name: p.stat().st_mtime_ns for p in out.iterdir() if p != file}
        file.write_text("subject,thesis\nyears,of work\n")
        capsys.readouterr()
        assert cli.main(table if file.name == "table1.md" else results) == 2
        assert f"{file.name}' exists and unlogit did not write it" in capsys.readouterr().err
        assert file.read_text() == "subject,thesis\nyears,of work\n"
        assert {p.name: p.stat().st_mtime_ns for p in out.iterdir() if p != file} == others
        file.write_bytes(ours)


def test_metrics_prefer_the_nearer_image(
    tmp_path: Path, make_study: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "study.sqlite")
    pairs = (("near", "far"), ("farther", "near"))
    study, _ = make_study(path, places=9, pairs=pairs)
    assert cli.main(["study", "observe", "pixel_error", "psnr", "--database", path]) == 0
    for seen in Results.read(Database(path), study).observations[1:]:
        assert [p.share.value for p in seen.preferences] == [1.0, 0.0]
        assert seen.left is not None and 0.3 < seen.left.value < 0.7
        assert seen.finished == 1


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["create", "A", "--images", "scenes:test"], "1 inverters: a comparison study needs at least 2"),
        (["create", "A", "A", "--images", "scenes:test", "--name", "Ä b"], "lower-case letters"),
        (["create", "A", "A", "--images", "scenes:test"], "name is taken"),
        (["create", "A", "original=A", "--images", "scenes:test"], "name is taken"),
        (["create", "A", "b=A", "--images", "scenes:test", "--pairs", "first"], "FIRST:SECOND"),
        (["create", "A", "b=A", "--images", "scenes:test", "--pairs", "b:firs"], "Did you mean 'first'"),
        (["create", "A", "b=A", "--images", "scenes:test", "--pairs", "b:first", "first:b"], "given twice"),
        (["create", "A", "b=A", "--images", "scenes:test", "--num-images", "4", "--trials", "5"], "must be 1 to 4"),
        (["create", "A", "b=A", "--images", "scenes:test", "--consent", "none.txt"], "no such file"),
        (["create", "A", "b=A", "--images", "scene:test"], "scenes"),
        (["create", "A", "--images", "scenes:test", "--trial", "naming"], "choices 16: must be at most 10"),
        (["create", "A", "--images", "scenes:test", "--trial", "naming", "--pairs", "a:b"], "leave --pairs out"),
        (["observe"], "no such file"),
        (["serve"], "no such file"),
        (["table"], "no such file"),
        (["results", "--database", "postgresql+nothing://x"], "database"),
        (["results", "--database", "postgresql://user:secret@127.0.0.1:1/x"], "database"),
        (["served"], "Did you mean 'serve'"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    folders: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [folders[0] if a == "A" else a.replace("=A", f"={folders[0]}") for a in args]
    said = failed(capsys, *given)
    assert says in said and "secret" not in said
    assert list(tmp_path.iterdir()) == []


def test_one_name_is_one_study(tmp_path: Path, make_study: Callable[..., Any]) -> None:
    path = str(tmp_path / "study.sqlite")
    make_study(path)
    with pytest.raises(UnlogitError, match="give another --name"):
        make_study(path)
    make_study(path, name="second")
    with pytest.raises(UnlogitError, match=r"--study study\|second"):
        Database(path).study()
    with pytest.raises(UnlogitError, match="Did you mean 'second'"):
        Database(path).study("secon")


def test_unknown_metric_is_told_and_changes_nothing(
    tmp_path: Path, make_study: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "study.sqlite")
    study, _ = make_study(path)
    assert "ssim" in failed(capsys, "observe", "sim", "--database", path)
    assert len(Results.read(Database(path), study).observations) == 1


def test_a_file_that_is_no_database_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("These are notes. " * 100)
    assert "notes.txt" in failed(capsys, "results", "--database", path)
    assert path.read_text().startswith("These are notes.")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("Einverständnis".encode("latin-1"), "byte 9 is not UTF-8; save the file as UTF-8"),
        ("Agreed.".encode("utf-16"), "not UTF-8"),
        ("Agreed.".encode("utf-16-le"), "zero bytes"),
        (b"x" * 1_000_001, "at most 1,000,000"),
    ],
    ids=["latin-1", "utf-16", "utf-16 without its mark", "too long"],
)
def test_consent_text_that_is_no_utf_8_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, says: str
) -> None:
    consent = tmp_path / "consent.txt"
    consent.write_bytes(content)
    path = tmp_path / "study.sqlite"
    given = ["create", "a", "b", "--images", "scenes:test", "--consent", consent, "--database", path]
    assert says in failed(capsys, *given) and not path.exists()


def test_consent_text_may_begin_with_a_mark(tmp_path: Path, make_study: Callable[..., Any]) -> None:
    consent = tmp_path / "consent.txt"
    consent.write_bytes("Einverständnis".encode("utf-8-sig"))
    study, _ = make_study(str(tmp_path / "study.sqlite"), consent=consent)
    assert study.consent == "Einverständnis"


@pytest.mark.parametrize("option", [["--seed", str(2**31)], ["--seed", "-1"], ["--title", "caf\udce9"]])
def test_values_that_no_database_stores_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = failed(capsys, "create", "a", "b", "--images", "scenes:test", *option)
    assert said.startswith("unlogit: error: ") and "must" in said
    assert list(tmp_path.iterdir()) == []


OLDER = {
    "a column is missing": ["ALTER TABLE unlogit_vote DROP COLUMN shows"],
    "a column is too many": ["ALTER TABLE unlogit_vote ADD COLUMN mood INTEGER"],
    "a table is missing": ["DROP TABLE unlogit_vote"],
    "a key is missing": [
        "CREATE TABLE copied AS SELECT * FROM unlogit_vote",
        "DROP TABLE unlogit_vote",
        "ALTER TABLE copied RENAME TO unlogit_vote",
    ],
}


@pytest.mark.parametrize("statements", OLDER.values(), ids=OLDER)
def test_a_database_of_another_version_is_refused_at_the_start(
    database: str, make_study: Callable[..., Any], capsys: pytest.CaptureFixture[str], statements: list[str]
) -> None:
    make_study(database)
    opened = Database(database)
    opened.check()
    with opened.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    opened.engine.dispose()
    for command in (["serve", "--port", "65001"], ["results"], ["observe", "pixel_error"]):
        said = failed(capsys, *command, "--database", database)
        assert "another version of unlogit" in said and "unlogit_vote" in said
    with pytest.raises(UnlogitError, match="another version"):
        make_study(database, name="second")


def test_a_full_disk_is_one_line(
    tmp_path: Path, make_study: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "study.sqlite")
    make_study(path)
    with monkeypatch.context() as patch:
        prepare = tables._prepare

        def limited(connection: Any, record: Any) -> None:
            prepare(connection, record)
            connection.execute("PRAGMA max_page_count=1")  # No page more than there are.

        patch.setattr(tables, "_prepare", limited)
        with pytest.raises(UnlogitError, match="disk is full"):
            make_study(path, places=64, name="second")
    assert [study.name for study in Database(path).studies()] == ["study"]

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    out = tmp_path / "out"
    for command in (["results", "--database", path], ["table", path]):
        assert "No space left on device" in failed(capsys, *command, "--out", out)
    assert list(out.iterdir()) == []
