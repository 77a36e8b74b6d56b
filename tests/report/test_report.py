"""The page stands by itself, says what the numbers say, and takes no name for markup."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from unlogit.analyses import Column, Evidence, Table, as_csv, format_estimate, quality, reconstruct
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource
from unlogit.methods import Inverter
from unlogit.report import Part, summary, write_report
from unlogit.report.page import is_numeric, leads, short_paths
from unlogit.report.sections import slug
from unlogit.statistics import Estimate

HOSTILE = '<script>alert("x")</script> & \'co'


class Page(HTMLParser):
    """Collects what a page refers to and says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            assert not key.startswith("on"), (tag, key)
            if key in ("src", "href", "srcset", "data", "action", "poster"):
                self.links.append((tag, value or ""))
            if key == "id":
                self.ids.append(value or "")
        if tag not in ("meta", "link", "img", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def written(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Part]]:
    folder: Path = tmp_path_factory.mktemp("report")
    names = {"standard": tiny_inverters["standard"], HOSTILE: tiny_inverters["nearest"]}
    classifier = tiny_inverters["standard"].representation.classifier
    before = classifier.class_names
    classifier.class_names = (HOSTILE, "$x_1^$", *before[2:])
    try:
        evidences = {"Scenes": Evidence(tiny_scenes, names), HOSTILE: Evidence(tiny_scenes, names, limit=20)}
        configs = {
            "reconstruct": reconstruct.Config(num_images=5),
            "quality": quality.Config(metrics=("psnr",), draws=2, inception=False),
        }
        parts = write_report(
            folder,
            HOSTILE,
            evidences,
            configs=dict.fromkeys(evidences, configs),
            command=f"unlogit analyse {HOSTILE}",
        )
    finally:
        classifier.class_names = before
    return folder, parts


def test_the_page_is_self_contained_and_its_links_lead_somewhere(written: tuple[Path, list[Part]]) -> None:
    text = (written[0] / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open
    assert page.links
    for tag, target in page.links:
        assert target.startswith("data:image/png;base64," if tag == "img" else "#"), (tag, target[:80])
        if target.startswith("#"):
            assert target[1:] in page.ids
    assert len(page.ids) == len(set(page.ids))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "@import" not in text
    assert "url(" not in text
    assert len(text) < 20_000_000


def test_hostile_names_are_text(written: tuple[Path, list[Part]]) -> None:
    text = (written[0] / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    said = "".join(Page(text).text)
    assert said.count(HOSTILE) > 5
    assert all("/" not in p.name and "<" not in p.name for p in (written[0] / "results").iterdir())


def test_every_figure_and_table_lies_beside_the_page(written: tuple[Path, list[Part]]) -> None:
    folder = written[0] / "results"
    assert (folder / "scenes-reconstruct" / "grid.png").is_file()
    for path in folder.glob("*/*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.with_suffix(".svg").read_text().count("<svg") == 1
    with (folder / "scenes-quality" / "quality.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["inverter"] for row in rows] == ["standard", HOSTILE]
    for row in rows:
        assert float(row["same class low"]) <= float(row["same class"]) <= float(row["same class high"])
        assert row["same class n"] == "100"
    assert not list(written[0].glob(".*"))


def test_metrics_json_holds_every_number(written: tuple[Path, list[Part]]) -> None:
    folder, parts = written
    records = json.loads((folder / "metrics.json").read_text())
    assert len(records) == sum(len(s.records) for p in parts for s in p.sections)
    for record in records:
        assert set(record) == {"analysis", "name", "value", "low", "high", "n", "inverter", "images"}
        assert record["low"] <= record["value"] <= record["high"]
        assert record["images"] == "scenes:test,count=100"


def test_the_page_tells_the_numbers(written: tuple[Path, list[Part]]) -> None:
    folder, parts = written
    said = "".join(Page((folder / "report.html").read_text(encoding="utf-8")).text)
    for section in parts[0].sections:
        assert section.question in said
        assert all(finding in said for finding in section.findings)
        for number in section.records:
            if number.at is not None:
                continue
            value, interval = format_estimate(number.estimate)
            assert value in said
            assert interval in said


def test_the_summary_has_a_row_a_figure_and_a_column_an_inverter(written: tuple[Path, list[Part]]) -> None:
    lines = summary(written[1]).split("\n\n")[0].splitlines()
    assert lines[0].startswith("Scenes (100 images)")
    assert "standard" in lines[0]
    number = next(
        n for n in written[1][0].sections[1].records if n.metric == "pixel_error" and n.inverter == "standard"
    )
    row = next(line for line in lines if line.startswith("pixel error ↓"))
    assert format_estimate(number.estimate)[0] in row
    assert all(len(line) < 120 for line in lines)


def test_writing_again_replaces_and_a_failure_leaves_what_was(
    written: tuple[Path, list[Part]], tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]
) -> None:
    folder = written[0]
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    evidence = Evidence(tiny_scenes, {"standard": tiny_inverters["standard"]}, limit=5)
    with pytest.raises(UnlogitError, match="unknown analysis"):
        write_report(folder, "t", {"a": evidence}, configs={"a": {"quality": None, "nothing": None}}, command="c")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_numbers_are_told_to_the_precision_of_their_interval() -> None:
    assert format_estimate(Estimate(0.5217, 0.4231, 0.6181, 9)) == ("0.52", "0.42–0.62")
    assert format_estimate(Estimate(0.5217, 0.5131, 0.5316, 9)) == ("0.522", "0.513–0.532")
    assert format_estimate(Estimate(-0.004, -0.017, 0.027, 9)) == ("−0.004", "−0.017 to 0.027")
    assert format_estimate(Estimate(152.3, 140.2, 163.9, 9)) == ("152", "140–164")
    assert format_estimate(Estimate(1.0, 1.0, 1.0, 9)) == ("1.000", "1.000–1.000")


def test_leads_marks_the_best_and_not_what_its_interval_overlaps() -> None:
    cells = [Estimate(v, v - 1, v + 1, 9) for v in (5.0, 6.5, 9.0)]
    for better, expected in (("higher", [False, False, True]), ("lower", [True, False, False]), (None, [False] * 3)):
        table = Table("t", "", "", (Column("a", better),), tuple((c,) for c in cells))  # type: ignore[arg-type]
        assert [leads(table, 0, c) for c in cells] == expected


def test_leads_marks_no_value_at_chance() -> None:
    cells = (Estimate(0.1, -0.1, 0.3, 9), Estimate(-0.2, -0.4, 0.0, 9))
    for chance, expected in ((None, True), (0.0, False)):
        table = Table("t", "", "", (Column("a", "higher", chance=chance),), tuple((c,) for c in cells))
        assert leads(table, 0, cells[0]) is expected


def test_a_column_is_numeric_if_any_of_its_cells_is() -> None:
    rows = (("mirrored", None, None), ("a", Estimate(1, 0, 2, 7), "no"))
    table = Table("t", "", "", (Column("images"), Column("cosine"), Column("part in training")), rows)
    assert [is_numeric(table, column) for column in range(3)] == [False, True, False]


def test_long_paths_are_shortened() -> None:
    assert short_paths("images of folder:/a/b/c/photos/x.jpg, drawn") == "images of folder:…/photos/x.jpg, drawn"
    assert short_paths("packaged:efficientnet_lite1?size=64 a/b") == "packaged:efficientnet_lite1?size=64 a/b"


def test_the_summary_stands_before_the_contents(written: tuple[Path, list[Part]]) -> None:
    text = (written[0] / "report.html").read_text(encoding="utf-8")
    assert text.index('class="brief"') < text.index("<nav")
    assert written[1][0].sections[0].findings[0] in "".join(Page(text).text)


def test_csv_of_mixed_cells() -> None:
    columns = (Column("name"), Column("a"), Column("b"))
    table = Table("t", "", "", columns, (("x,y", Estimate(1, 0, 2, 7), "s"), ("z", None, None)))
    assert as_csv(table) == 'name,a,a low,a high,a n,b\n"x,y",1,0,2,7,s\nz,,,,,\n'


def test_slug() -> None:
    assert slug("Natural images (64 px)") == "natural-images-64-px"
    assert slug("…") == "part"
    assert slug("A b", ["a-b", "a-b-2"]) == "a-b-3"
