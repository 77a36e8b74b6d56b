import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from unlogit import cli
from unlogit.analyses import Result, spread
from unlogit.classifiers import open_classifier
from unlogit.classifiers.small import SmallConfig, SmallResNet, save_small
from unlogit.methods import GeneratorInverter
from unlogit.methods.biggan.config import GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.representation import Representation

SIZE = 32


@pytest.fixture(scope="module")
def inverter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an inverter with random weights."""
    folder = tmp_path_factory.mktemp("run") / "random"
    torch.manual_seed(0)
    names = tuple(f"class {k}" for k in range(10))
    save_small(folder / "classifier", SmallResNet(SmallConfig(10, SIZE, (8, 8, 8))), names, {})
    representation = Representation(open_classifier(f"small:{folder / 'classifier'}"))
    generator = Generator(10, GeneratorConfig(size=SIZE, channels=2, noise=16, hidden=4, attention=None))
    GeneratorInverter(representation, generator, {"deviations": []}, "random").save(folder / "inverter")
    return folder / "inverter"


def told(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """What `unlogit analyse` says when it must fail with one line."""
    assert cli.main(["analyse", *map(str, args)]) == 2
    *stages, said = capsys.readouterr().err.splitlines(keepends=True)
    assert all(line.endswith(" ...\n") for line in stages)
    assert said.startswith("unlogit: error: ")
    return said


def arguments(inverter: Path, out: Path, *more: object) -> list[str]:
    """A small battery of two inverters."""
    given = ["analyse", inverter, f"twin={inverter}", "--images", "scenes:test", "--out", out, "--features", "pixels"]
    return [str(a) for a in (*given, "--num-images", 24, "--noise-path.steps", 2, *more)]


def test_what_is_named_is_written_and_its_numbers_are_printed(
    inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    args = arguments(inverter, out, "--only", "training", "noise_path", "quality")
    assert cli.main(args) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == str(out / "report.html")
    assert "no results for scenes:test: training" in said
    assert "Against twin, random is " in said.splitlines()[-3], "the summary is not printed"
    numbers = json.loads((out / "metrics.json").read_text())
    assert {n["analysis"] for n in numbers} == {"quality", "noise-path"}
    assert {n["inverter"] for n in numbers} == {"random", "twin"}
    assert {n["images"] for n in numbers} == {"scenes:test"}
    by_name = {(n["name"], n["inverter"]): n for n in numbers}
    assert by_name["agreement", "random"]["n"] == 24
    assert by_name["agreement", "random"]["value"] == by_name["agreement", "twin"]["value"]
    page = (out / "report.html").read_text()
    assert "twin" in said and "twin" in page
    assert "unlogit analyse" in page, "a page without the command that makes it again"
    assert sorted(p.name for p in (out / "results" / "scenes-test-noise-path").iterdir()) == [
        *("images.png", "images.svg", "pairs.csv", "paths.csv", "results.json", "steps.png", "steps.svg")
    ]


def test_probes_are_fitted_on_the_training_images_that_are_given(inverter: Path, tmp_path: Path) -> None:
    assert cli.main(arguments(inverter, tmp_path, "--only", "probe", "--fit-on", "scenes:count=80")) == 0
    assert "fitted on 80 training images" in (tmp_path / "report.html").read_text()


def test_what_was_found_is_not_asked_again(
    inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def interrupt(_config: object, _evidence: object) -> Iterator[Result]:
        raise KeyboardInterrupt

    def run(*more: object) -> dict[str, int]:
        """When the results of each analysis were written."""
        args = arguments(inverter, out, "--only", "reconstruct", "spread", *more)
        assert cli.main(args) == (130 if broken else 0)
        return {p.parent.name: p.stat().st_mtime_ns for p in out.glob("results/*/results.json")}

    broken = True
    with monkeypatch.context() as patch:
        patch.setattr(spread, "run", interrupt)
        before = run()
    assert list(before) == ["scenes-test-reconstruct"], "an interrupted analysis has left results"
    assert not (out / "report.html").exists()
    broken = False
    whole = run()
    assert whole["scenes-test-reconstruct"] == before["scenes-test-reconstruct"]
    page = (out / "report.html").read_text()
    assert run() == whole
    assert len((out / "report.html").read_text()) == len(page)
    other = run("--spread.classes", 3)
    assert other["scenes-test-reconstruct"] == whole["scenes-test-reconstruct"]
    assert other["scenes-test-spread"] != whole["scenes-test-spread"]
    (out / "results" / "scenes-test-reconstruct" / "grid.png").unlink()
    assert run("--spread.classes", 3)["scenes-test-reconstruct"] != whole["scenes-test-reconstruct"]
    again = run("--spread.classes", 3, "--seed", 1)
    assert not set(again.values()) & set(other.values())
    capsys.readouterr()


@pytest.mark.parametrize(
    "name", ["report.html", "metrics.json", "results/scenes-test-reconstruct/grid.png", "results/scenes-test-spread/x"]
)
def test_somebody_else_s_files_are_left_alone(
    inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("years of work")
    args = arguments(inverter, out, "--only", "reconstruct", "spread")
    monkeypatch.setattr(spread, "run", pytest.fail)
    assert "unlogit did not write it" in told(capsys, *args[1:])
    assert [p for p in out.rglob("*") if p.is_file()] == [out / name]


def test_a_report_and_its_results_are_replaced_but_not_with_a_note_in_them(
    inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for seed in (0, 1):
        assert cli.main(arguments(inverter, out, "--only", "spread", "--seed", seed)) == 0
    capsys.readouterr()
    (out / "results" / "scenes-test-spread" / "notes.txt").write_text("mine")
    assert "spread' exists and unlogit did not" in told(capsys, *arguments(inverter, out, "--only", "spread")[1:])


def test_mistakes_write_nothing(inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    common = ("--images", "scenes:test", "--out", out)
    assert "no inverter given" in told(capsys, *common)
    assert "two inverters are called 'random'" in told(capsys, inverter, inverter, *common)
    assert "inverter 'nowhere'" in told(capsys, "a=nowhere", *common)
    assert "images 0: must be at least" in told(capsys, inverter, *common, "--num-images", 0)
    assert "unknown analysis 'nois'" in told(capsys, inverter, *common, "--only", "nois")
    assert "unknown packaged classifier 'x'" in told(capsys, inverter, *common, "--features", "packaged:x")
    assert "no source prefix" in told(capsys, inverter, "--images", "scenes", "--out", out)
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps([{"label": k, "imagenet1k": k + 90} for k in range(10)]))
    assert "logit index 99 must be 0 to 9, the logits of the classifiers" in told(
        capsys, inverter, *common, "--labels", labels
    )
    assert not out.exists()
