"""The command line: what it costs to ask for help, how mistakes are told, what reconstruct writes."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unlogit import __version__, cli
from unlogit.classifiers import open_classifier
from unlogit.classifiers.small import SmallConfig, SmallResNet, save_small
from unlogit.methods import GeneratorInverter, open_inverter
from unlogit.methods.biggan import GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.representation import Representation

SIZE = 32


@pytest.fixture(scope="module")
def inverter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an inverter with random weights."""
    folder = tmp_path_factory.mktemp("random")
    torch.manual_seed(0)
    names = ("tabby, tabby cat", "canoe", "zebra")
    save_small(folder / "classifier", SmallResNet(SmallConfig(3, SIZE, (8, 8, 8))), names, {})
    representation = Representation(open_classifier(f"small:{folder / 'classifier'}"))
    generator = Generator(3, GeneratorConfig(size=SIZE, channels=2, noise=16, hidden=4, attention=None))
    GeneratorInverter(representation, generator, {"deviations": ["warm start"]}, "random").save(folder / "inverter")
    return folder / "inverter"


def photo(path: Path, seed: int, width: int = 60, height: int = 50) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)).save(path)
    return path


def run(*args: object) -> int:
    """The exit code, whether it is returned or raised (by tyro)."""
    try:
        return cli.main([str(a) for a in args])
    except SystemExit as stop:
        return int(stop.code or 0)


def mistake(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """What a command that must fail with 2 says, which must be one line after those of its stages."""
    assert run(*args) == 2
    *stages, said = capsys.readouterr().err.splitlines(keepends=True)
    assert all(line.endswith(" ...\n") for line in stages)
    assert said.startswith("unlogit: error: ")
    return said.removeprefix("unlogit: error: ").rstrip()


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--help"], "reconstruct"),
        (["--help-all"], "reconstruct"),
        (["--version"], __version__),
        (["list", "images"], "scenes"),
        (["list", "inverters"], "lite0_robust"),
    ],
)
def test_help_is_light(args: list[str], word: str) -> None:
    code = f"import sys; from unlogit.cli import main; assert main({args}) == 0; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
    assert word in done.stdout


def test_module_is_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "unlogit.cli", "clasify"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "unknown command 'clasify'" in done.stderr
    assert done.stderr.endswith("Did you mean 'classify'?\n")


@pytest.mark.parametrize("command", ["classify", "train", "bench", "reconstruct", "analyse", "list"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert f"unlogit {command}" in capsys.readouterr().out
    assert run(command, "--no-such-flag") == 2


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    for what, name in [("images", "scenes"), ("classifiers", "packaged"), ("analyses", "quality")]:
        assert run("list", what) == 0
        (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith(f"{name} ")]
        assert len(line.split()) > 3, "a name without what it is"
    assert run("list", "inverters") == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    (row,) = [row for row in rows if row.startswith("lite0_robust ")]
    shown = {"classifier": "fitted:lite0_robust", "layer": "logits", "size": "64 px", "images seen": "194,400"}
    for column, cell in (shown | {"trained on": "Tiny ImageNet"}).items():
        assert row[heading.index(column) :].startswith(cell)
    assert "unknown list command 'image': must be one of" in mistake(capsys, "list", "image")
    assert "CLASSIFIER" in mistake(capsys, "list", "layers")
    assert "unlogit list analyses --help" in mistake(capsys, "list", "analyses", "quality")


@pytest.mark.parametrize("command", ["list", "study"])
def test_subcommands_have_a_sentence_each_and_every_option_too(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == 0
    usage, _, *lines = capsys.readouterr().out.splitlines()
    assert usage == f"usage: unlogit {command} COMMAND ..."
    for name, about in (line.split(maxsplit=1) for line in lines):
        assert about.endswith(".")
        assert run(command, name, "--help") == 0
        shown = capsys.readouterr().out
        assert about.partition(":")[0][:40] in shown
        assert f"unlogit {command} {name}" in shown


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    listing = f"'{sys.executable}' -m unlogit.cli list classifiers '*' | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", listing], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == "unlogit: loading PyTorch ...\n"


def test_reconstruct(inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [
        photo(tmp_path / "a" / "one.png", 0),
        photo(tmp_path / "b" / "One.jpg", 1),
        photo(tmp_path / "grid.png", 2),
    ]
    out = tmp_path / "new" / "out"
    assert run("reconstruct", *photos, "--out", out, "--inverter", inverter) == 0
    assert sorted(p.name for p in out.iterdir()) == ["One-2.png", "grid-2.png", "grid.png", "one.png"]
    names = open_inverter(str(inverter)).representation.classifier.class_names
    said = capsys.readouterr()
    assert said.err == f"unlogit: reconstructing 3 photos by {inverter.parent.name} ...\n"
    lines = said.out.splitlines()
    assert lines[-1] == str(out / "grid.png")
    for line, name in zip(lines[:3], ("one.png", "One-2.png", "grid-2.png"), strict=True):
        file, classes = line.split(": ")
        assert Path(file) == out / name
        assert set(classes.split(" -> ")) <= {n.split(",")[0] for n in names}
    with Image.open(out / "grid.png") as grid:
        assert grid.width > grid.height > SIZE
    with Image.open(out / "one.png") as one, Image.open(out / "One-2.png") as two:
        assert one.size == two.size == (SIZE, SIZE)
        assert one.tobytes() != two.tobytes()


def test_reconstruct_the_sample_photos_into_the_default_folder(
    inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("reconstruct", "--example", "--inverter", inverter, "--view", "training") == 0
    assert {"beagle.png", "zebra.png", "grid.png"} <= {p.name for p in (tmp_path / "reconstructions").iterdir()}
    *_, legend, grid = capsys.readouterr().out.splitlines()
    assert legend.startswith("Class that the classifier predicts for the photo -> for its reconstruction.")
    assert legend.endswith(f"{SIZE} px, the inverter's size, as in training.")
    assert grid == "reconstructions/grid.png"


def test_a_reconstruction_is_the_inverter_s_own_and_depends_on_photo_and_seed_alone(
    inverter: Path, tmp_path: Path
) -> None:
    one, two = photo(tmp_path / "one.png", 0, SIZE, SIZE), photo(tmp_path / "two.png", 1)

    def made(*photos: Path, seed: int) -> np.ndarray:
        out = tmp_path / f"out-{len(photos)}-{seed}"
        assert run("reconstruct", *photos, "--out", out, "--inverter", inverter, "--seed", seed) == 0
        with Image.open(out / "one.png") as image:
            return np.asarray(image)

    opened = open_inverter(str(inverter))
    with Image.open(one) as image:
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255
    expected = opened.reconstruct(pixels, opened.sample_noise(1, torch.Generator().manual_seed(0)))[0]
    alone = made(one, seed=0)
    assert np.abs(alone / 255 - expected.permute(1, 2, 0).numpy()).max() < 1.01 / 255
    assert np.array_equal(alone, made(two, one, seed=0))
    assert not np.array_equal(alone, made(one, seed=1))


def test_broken_photos_are_skipped_and_told(inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    good = photo(tmp_path / "good.jpg", 0)
    assert run("reconstruct", broken, good, "--out", tmp_path / "out", "--inverter", inverter) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["good.png", "grid.png"]
    stage, said = capsys.readouterr().err.splitlines()
    assert stage.startswith("unlogit: reconstructing 1 photo by ")
    assert said.startswith(f"unlogit: 1 of 2 photos skipped: {broken}")
    told = mistake(capsys, "reconstruct", broken, "--out", tmp_path / "none", "--inverter", inverter)
    assert "none of the 1 photos can be decoded" in told
    assert not (tmp_path / "none").exists()


def test_mistakes_write_nothing(inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, out = photo(tmp_path / "good.png", 0), tmp_path / "out"
    common = ("--out", out, "--inverter", inverter)
    assert "no such file" in mistake(capsys, "reconstruct", good, tmp_path / "missing.png", *common)
    assert "is a folder" in mistake(capsys, "reconstruct", tmp_path, *common)
    assert "no photo given" in mistake(capsys, "reconstruct", *common)
    assert "must not be negative" in mistake(capsys, "reconstruct", good, *common, "--seed", "-1")
    assert "inverter 'nowhere'" in mistake(capsys, "reconstruct", good, "--out", out, "--inverter", "nowhere")
    assert "config.json is missing" in mistake(capsys, "reconstruct", good, "--out", out, "--inverter", tmp_path)
    assert not out.exists()
    before = good.read_bytes()
    told = mistake(capsys, "reconstruct", good, "--out", tmp_path, "--inverter", inverter)
    assert "would be overwritten" in told
    assert good.read_bytes() == before


def test_reconstruct_replaces_its_own_files_alone(
    inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    jpeg, png = photo(tmp_path / "cat.jpg", 0), photo(tmp_path / "cat.png", 1)
    before = png.read_bytes()
    # The inverter is not even opened.
    assert "'cat.png' exists and unlogit did not write it" in mistake(
        capsys, "reconstruct", jpeg, "--out", ".", "--inverter", "nowhere"
    )
    png.rename(tmp_path / "grid.png")
    assert "'grid.png' exists" in mistake(capsys, "reconstruct", jpeg, "--out", ".", "--inverter", "nowhere")
    assert (tmp_path / "grid.png").read_bytes() == before
    (tmp_path / "grid.png").unlink()
    for seed in (0, 1):
        assert run("reconstruct", jpeg, "--out", ".", "--inverter", inverter, "--seed", seed) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cat.jpg", "cat.png", "grid.png"]


def test_reconstruct_on_a_full_disk_is_one_line(
    inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = photo(tmp_path / "good.png", 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        told = mistake(capsys, "reconstruct", good, "--out", tmp_path / "out", "--inverter", inverter)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot write to" in told
    assert not list((tmp_path / "out").iterdir())


def test_a_leading_tilde_is_the_home_folder(
    inverter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "good.jpg", 0)
    (tmp_path / "run").symlink_to(inverter.parent)
    assert run("reconstruct", "~/good.jpg", "--out", "~/out", "--inverter", "a=~/run/inverter") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["good.png", "grid.png"]
    assert not (tmp_path / "~").exists()
    args = ["--images", "folder:~/images", "--held-out", "scenes:test", "--classifier", "small:~/run/classifier"]
    assert "'~/images' is not a folder" in mistake(capsys, "train", *args, "--out", "~/trained").replace(
        str(tmp_path), "~"
    )


def test_an_unwritable_folder_is_one_line(inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = photo(tmp_path / "good.png", 0)
    told = mistake(capsys, "reconstruct", good, "--out", good / "out", "--inverter", inverter)
    assert str(good) in told


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(_args: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setitem(cli.COMMANDS, "train", bug)
    with pytest.raises(ValueError, match="a bug"):
        run("train")


def test_classify_and_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classifier, run_folder = tmp_path / "classifier", tmp_path / "run"
    few = ("--num-images", 64, "--batch", 32, "--widths", 8, 8, "--num-test-images", 20, "--num-attacked-images", 10)
    assert run("classify", "--out", classifier, *few) == 0
    said = capsys.readouterr()
    assert "clean accuracy" in said.out
    assert [line for line in said.err.splitlines() if line.endswith(" ...")] == [
        "unlogit: opening the images scenes: and scenes:test ...",
        "unlogit: building the network ...",
        "unlogit: measuring the accuracy, clean and under attack ...",
    ]
    assert run("train", *train_args(classifier, run_folder)) == 0
    said = capsys.readouterr()
    assert "agreement" in said.out
    stages, estimate, _ = said.err.partition(" left at the speed of the first step")
    assert estimate
    for stage in (
        "opening the images scenes:",
        "opening the classifier",
        "estimating the mean",
        "building the networks",
    ):
        assert f"unlogit: {stage}" in stages
    *_, reconstruct, analyse = said.out.splitlines()
    assert reconstruct == f"next: unlogit reconstruct PHOTO --inverter {run_folder / 'inverter'}"
    assert analyse.split()[:3] == ["unlogit", "analyse", str(run_folder / "inverter")]
    open_inverter(str(run_folder / "inverter"))
    args = train_args(classifier, run_folder)
    assert "batch 0: must be at least 1" in mistake(capsys, "train", *args, "--batch", 0)
    assert "processes 0: must be at least 1" in mistake(capsys, "train", *args, "--processes", 0)


def train_args(classifier: Path, out: Path) -> list[object]:
    return [
        *("--images", "scenes:", "--held-out", "scenes:test", "--classifier", f"small:{classifier}", "--out", out),
        *(
            "--preset",
            "none",
            "--cache",
            out.parent / "cache",
            "--num-images",
            64,
            "--batch",
            16,
            "--num-validation-images",
            16,
        ),
        *("--generator.size", 32, "--generator.channels", 4, "--generator.noise", 16, "--generator.attention", "None"),
        *("--discriminator.channels", 4, "--discriminator.attention", "None"),
    ]


def test_reconstruct_with_two_inverters_side_by_side(
    inverter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [photo(tmp_path / f"{name}.png", seed) for seed, name in enumerate(("one", "two", "three"))]
    out = tmp_path / "out"
    given = ("--inverter", f"left={inverter}", "--inverter", f"right={inverter}")
    assert run("reconstruct", *photos, "--out", out, *given) == 0
    expected = [f"{name}-{side}.png" for name in ("one", "three", "two") for side in ("left", "right")]
    assert sorted(p.name for p in out.iterdir()) == sorted([*expected, "grid.png"])
    assert (out / "one-left.png").read_bytes() == (out / "one-right.png").read_bytes()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines[:2]] == [str(out / "one-left.png"), str(out / "one-right.png")]
    told = mistake(capsys, "reconstruct", *photos, "--out", out, "--inverter", inverter, "--inverter", inverter)
    assert "two inverters called" in told
    assert "--inverter one=" in told


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...\nmore")],
)
def test_memory_that_runs_out_is_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise error

    assert cli.guarded(fail) == 2
    assert capsys.readouterr().err == (
        "unlogit: error: not enough memory: give a smaller --batch, --micro-batch, size or network\n"
    )


def test_other_runtime_errors_stay_visible() -> None:
    def fail() -> None:
        raise RuntimeError("a mistake of ours")

    with pytest.raises(RuntimeError, match="a mistake of ours"):
        cli.guarded(fail)
