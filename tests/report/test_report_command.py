import json
from pathlib import Path

import pytest
import torch

from unlogit import cli
from unlogit.classifiers import open_classifier
from unlogit.classifiers.small import SmallConfig, SmallResNet, save_small
from unlogit.inverters import GeneratorInverter
from unlogit.networks import Generator, GeneratorConfig
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
    GeneratorInverter(representation, generator, {"aids": []}, "random").save(folder / "inverter")
    return folder / "inverter"


def told(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """What `unlogit report` says when it must fail with one line."""
    assert cli.main(["report", *map(str, args)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("unlogit: error: ")
    assert said.count("\n") == 1
    return said


def test_report_is_written_and_its_numbers_are_printed(
    inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    args = ["report", inverter, f"twin={inverter}", "--images", "scenes:test", "--pictures", 24, "--out", out]
    assert cli.main([str(a) for a in args]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == str(out / "report.html")
    numbers = json.loads((out / "metrics.json").read_text())
    assert {n["inverter"] for n in numbers} == {"random", "twin"}
    assert {n["images"] for n in numbers} == {"scenes:test"}
    by_name = {(n["name"], n["inverter"]): n for n in numbers}
    assert by_name["agreement", "random"]["n"] == 24
    assert by_name["agreement", "random"]["value"] == by_name["agreement", "twin"]["value"]
    page = (out / "report.html").read_text()
    assert "twin" in said and "twin" in page
    assert "unlogit report" in page, "a page without the command that makes it again"


def test_mistakes_write_nothing(inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    common = ("--images", "scenes:test", "--out", out)
    assert "no inverter given" in told(capsys, *common)
    assert "two inverters are called 'random'" in told(capsys, inverter, inverter, *common)
    assert "inverter 'nowhere'" in told(capsys, "a=nowhere", *common)
    assert "pictures 0: must be at least" in told(capsys, inverter, *common, "--pictures", 0)
    assert "no source prefix" in told(capsys, inverter, "--images", "scenes", "--out", out)
    assert not out.exists()
