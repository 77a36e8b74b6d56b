"""A stranger's files run no code: every source of classifiers, however it is nested, on every way in."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from unlogit import registry
from unlogit.classifiers import FROM_HUB, SAFE, open_classifier
from unlogit.classifiers._starts import save
from unlogit.cli import main
from unlogit.errors import UnlogitError
from unlogit.methods import GeneratorInverter, open_inverter
from unlogit.methods.biggan import BigGANConfig, DiscriminatorConfig, GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.representation import Representation
from unlogit.training import TrainConfig, train
from unlogit.trust import check_path, named_by, trusting

SOURCES = registry.names("unlogit.classifiers")
CODE = """
from pathlib import Path
from torch import nn

Path(__file__).with_name("was-run").touch()

def make():
    return nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
"""


@pytest.fixture(autouse=True)
def _nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers asks on the terminal whether to run code, where nothing is said of it."""

    def ask(_prompt: str = "") -> str:
        raise AssertionError("asked on the terminal")

    monkeypatch.setattr("builtins.input", ask)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A file that leaves a trace where it is imported."""
    path = tmp_path / "code" / "net.py"
    path.parent.mkdir()
    path.write_text(CODE)
    return path


def was_run(code: Path) -> bool:
    return code.with_name("was-run").exists()


def inverter_of(spec: str, folder: Path, named: str | None = None) -> Path:
    """A saved inverter of a classifier, which its config.json calls `named`."""
    representation = Representation(open_classifier(spec))
    shape = GeneratorConfig(32, channels=1, noise=4, hidden=2, attention=None, spectral_norm=False)
    GeneratorInverter(representation, Generator(representation.dim, shape), {"deviations": []}).save(folder)
    if named is not None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"classifier": named}))
    return folder


@pytest.fixture
def inverter(code: Path, tmp_path: Path) -> Path:
    """An inverter whose classifier is code in its own folder."""
    folder = inverter_of(f"python:{code}:make", tmp_path / "inverter", "python:{folder}/net.py:make")
    code.with_name("was-run").unlink()
    shutil.copy(code, folder / "net.py")
    return folder


@pytest.fixture
def fitted(code: Path, tmp_path: Path) -> str:
    """A fitted classifier whose architecture is code."""
    spec = f"python:{code}:make"
    save(tmp_path / "fit", open_classifier(spec), spec, {})
    code.with_name("was-run").unlink()
    return f"fitted:{tmp_path / 'fit'}"


# Every source


def test_every_source_is_judged() -> None:
    assert set(SOURCES) - SAFE == {"python"}, "a new source: may a stranger's file name it? list it in SAFE, or here"
    assert FROM_HUB < SAFE < set(SOURCES)


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_may_name_a_source_that_runs_no_code(source: str, spec_of: Callable[[str], str]) -> None:
    spec = spec_of(source)
    with named_by("inverter 'x'"):
        if source in SAFE:
            assert open_classifier(spec).class_names
        else:
            with pytest.raises(UnlogitError, match="inverter 'x' names .* runs code of its own: .*--trust-code"):
                open_classifier(spec)
            assert open_classifier(spec, trust_code=True).class_names
            with trusting(True):
                assert open_classifier(spec, trust_code=False).class_names


@pytest.mark.parametrize("source", SOURCES)
def test_a_folder_from_the_hub_names_no_file_outside_of_it_and_no_other_source(
    source: str, spec_of: Callable[[str], str], tmp_path: Path
) -> None:
    spec = spec_of(source)
    with named_by("inverter 'x'", hub=tmp_path), trusting(True):
        if "/" not in spec:
            assert source in FROM_HUB and open_classifier(spec).class_names
            return
        with pytest.raises(UnlogitError, match="comes from the Hub") as error:
            open_classifier(spec)
    assert ("in its own folder" in str(error.value)) == (source in FROM_HUB)


@pytest.mark.parametrize("source", SOURCES)
def test_a_fitted_classifier_passes_no_trust_on(source: str, spec_of: Callable[[str], str], tmp_path: Path) -> None:
    spec = spec_of(source)
    if source in ("fitted", "small"):
        pytest.skip("is written as itself")
    save(tmp_path, open_classifier(spec), spec, {})
    if source in SAFE:
        assert open_classifier(f"fitted:{tmp_path}").class_names
        return
    with pytest.raises(UnlogitError, match="classifier 'fitted:.*' names .* runs code of its own"):
        open_classifier(f"fitted:{tmp_path}")
    assert open_classifier(f"fitted:{tmp_path}", trust_code=True).class_names


# Every way in


def test_what_is_typed_is_the_user_s_own(code: Path) -> None:
    open_classifier(f"python:{code}:make")
    assert was_run(code)
    open_inverter(f"engstrom:?classifier=python:{code}:make&size=32&steps=1")


def test_an_inverter_s_folder_runs_no_code_without_permission(inverter: Path) -> None:
    for attempt in (
        lambda: open_inverter(str(inverter)),
        lambda: GeneratorInverter.load(inverter),
        lambda: GeneratorInverter.from_pretrained(str(inverter)),
    ):
        with pytest.raises(UnlogitError, match="runs code of its own"):
            attempt()
    assert not was_run(inverter / "net.py")
    assert open_inverter(str(inverter), trust_code=True).representation.dim == 3
    assert was_run(inverter / "net.py")


def test_an_inverter_runs_no_code_of_its_classifier_s_folder(inverter: Path, fitted: str, code: Path) -> None:
    shutil.copytree(fitted.removeprefix("fitted:"), inverter / "c")
    config = json.loads((inverter / "config.json").read_text())
    (inverter / "config.json").write_text(json.dumps(config | {"classifier": "fitted:{folder}/c"}))
    with pytest.raises(UnlogitError, match="runs code of its own"):
        open_inverter(str(inverter))
    assert not was_run(code)
    assert open_inverter(str(inverter), trust_code=True).representation.dim == 3


@pytest.mark.parametrize("method", ["engstrom", "mahendran", "nearest"])
def test_a_method_s_options_pass_no_trust_on(method: str, fitted: str, code: Path, tmp_path: Path) -> None:
    more = f"images=scenes:count=8&cache={tmp_path}" if method == "nearest" else "steps=1"
    spec = f"{method}:?classifier={fitted}&size=32&{more}"
    with pytest.raises(UnlogitError, match="runs code of its own"):
        open_inverter(spec)
    assert not was_run(code)
    assert open_inverter(spec, trust_code=True).representation.dim == 3


def test_from_the_hub_no_permission_helps(
    inverter: Path, fitted: str, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlogit.methods._trained.snapshot_download", lambda *_args, **_options: str(inverter))
    with pytest.raises(UnlogitError, match="runs code of its own, and comes from the Hub"):
        GeneratorInverter._from_pretrained(model_id="nobody/nothing")
    with pytest.raises(UnlogitError, match="nothing from the Hub may run code"):
        GeneratorInverter._from_pretrained(model_id="nobody/nothing", trust_code=True)
    config = json.loads((inverter / "config.json").read_text())
    shutil.copytree(fitted.removeprefix("fitted:"), inverter / "c")
    for spec, problem in (
        ("fitted:{folder}/c", "runs code of its own, and comes from the Hub"),
        ("open_clip:hf-hub:nobody/clip", "must be one of checkpoint, "),
        ("checkpoint:{folder}/../code/net.py?arch=timm:resnet18", "must be a file in its own folder"),
        ("timm:resnet18?pretrained=false&checkpoint=/etc/hosts", "must be a file in its own folder"),
    ):
        (inverter / "config.json").write_text(json.dumps(config | {"classifier": spec}))
        with pytest.raises(UnlogitError, match=problem):
            GeneratorInverter._from_pretrained(model_id="nobody/nothing")
    assert not was_run(code) and not was_run(inverter / "net.py")


def test_a_link_of_the_hub_s_cache_stays_within_its_folder(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "blobs" / "0123").write_text("a\nb\n")
    (tmp_path / "snapshot" / "names.txt").symlink_to(tmp_path / "blobs" / "0123")
    with named_by("inverter 'x'", hub=tmp_path / "snapshot"):
        assert check_path(tmp_path / "snapshot" / "names.txt").name == "names.txt"


@pytest.mark.parametrize("start", ["inverter", "classifier"])
def test_a_training_passes_no_trust_on(
    start: str, inverter: Path, fitted: str, code: Path, tiny_classifier_spec: str, tmp_path: Path
) -> None:
    config = TrainConfig(
        "scenes:count=16",
        "scenes:test,count=4",
        tiny_classifier_spec if start == "inverter" else fitted,
        tmp_path / "run",
        start=str(inverter) if start == "inverter" else None,
        method=BigGANConfig(
            generator=GeneratorConfig(32, channels=1, noise=4, attention=None),
            discriminator=DiscriminatorConfig(channels=1, attention=None),
        ),
        cache=tmp_path,
    )
    with pytest.raises(UnlogitError, match="runs code of its own"):
        train(config)
    assert not was_run(code) and not was_run(inverter / "net.py")


def commands(inverter: Path, fitted: str, photo: Path, out: Path) -> dict[str, list[str]]:
    """Every command that opens a classifier or an inverter, on a stranger's."""
    images = ["--images", "scenes:count=8"]
    small = ["--out", str(out), "--num-images", "1", "--batch", "2"]
    return {
        "analyse": ["analyse", str(inverter), *images, "--out", str(out)],
        "bench": ["bench", "--classifier", fitted, "--batch", "1", "--rounds", "1", "--generator.channels", "1",
                  "--generator.size", "32", "--generator.noise", "4", "--discriminator.channels", "4",
                  "--generator.attention", "None", "--discriminator.attention", "None"],
        "classify": ["classify", *images, "--start", fitted, "--test-images", "scenes:count=8", *small],
        "explore": ["explore", str(inverter)],
        "list": ["list", "layers", fitted],
        "reconstruct": ["reconstruct", str(photo), "--inverter", str(inverter), "--out", str(out)],
        "study": ["study", "create", str(inverter), f"other={inverter}", *images, "--database", str(out / "s.sqlite")],
        "train": ["train", *images, "--held-out", "scenes:count=8", "--classifier", fitted, "--preset", "none", *small],
    }  # fmt: skip


@pytest.mark.parametrize("command", sorted(commands(Path(), "", Path(), Path())))
def test_every_command_refuses_and_has_the_option(
    command: str, inverter: Path, fitted: str, code: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = Path(__file__).parents[2] / "src" / "unlogit" / "photos" / "cat.jpg"
    args = commands(inverter, fitted, photo, tmp_path / "out")[command]
    assert main(args) == 2
    error = capsys.readouterr().err
    assert "runs code of its own" in error and "--trust-code" in error
    assert not was_run(code) and not was_run(inverter / "net.py")
    if command in ("list", "reconstruct"):  # The others take long, or serve.
        assert main([*args, "--trust-code"]) == 0
        assert was_run(code) or was_run(inverter / "net.py")
    elif command not in ("study",):
        with pytest.raises(SystemExit):
            main([command, "--help-all"])
        assert "--trust-code" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["create", "observe"])
def test_study_commands_have_the_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["study", command, "--help"])
    assert "--trust-code" in capsys.readouterr().out


# Every format


class Traced:
    """A pickle of it leaves a trace where it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "spec",
    [
        "checkpoint:{}?arch=timm:test_resnet",
        "madry:{}",
        "timm:test_resnet?checkpoint={}",
        "open_clip:RN50?checkpoint={}",
    ],
)
def test_a_pickle_runs_no_code(spec: str, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(1), "b": Traced(tmp_path / "was-run")}, path, _use_new_zipfile_serialization=zipped)
    if "RN50" in spec:
        pytest.importorskip("open_clip")
    with pytest.raises(UnlogitError):
        open_classifier(spec.format(path))
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("source", ["small", "fitted"])
def test_a_pickle_in_the_place_of_weights_runs_no_code(
    source: str, spec_of: Callable[[str], str], tmp_path: Path
) -> None:
    shutil.copytree(spec_of(source).partition(":")[2], tmp_path / "c")
    (tmp_path / "c" / "model.safetensors").write_bytes(pickle.dumps(Traced(tmp_path / "was-run")))
    with pytest.raises(UnlogitError, match="model.safetensors cannot be read"):
        open_classifier(f"{source}:{tmp_path / 'c'}")
    assert not (tmp_path / "was-run").exists()


def test_a_folder_of_transformers_runs_no_code(spec_of: Callable[[str], str], tmp_path: Path) -> None:
    shutil.copytree(spec_of("transformers").partition(":")[2], tmp_path / "vit")
    (tmp_path / "vit" / "net.py").write_text(CODE)
    config = json.loads((tmp_path / "vit" / "config.json").read_text())
    auto = {"AutoConfig": "net.Config", "AutoModelForImageClassification": "net.Model", "AutoImageProcessor": "net.P"}
    for model_type in (config["model_type"], "of-its-own"):
        changed = config | {"auto_map": auto, "model_type": model_type}
        (tmp_path / "vit" / "config.json").write_text(json.dumps(changed))
        try:
            open_classifier(f"transformers:{tmp_path / 'vit'}")
        except UnlogitError as error:
            assert model_type == "of-its-own", error
        assert not list(tmp_path.rglob("was-run"))


def test_a_folder_of_transformers_fetches_no_compiled_kernel(spec_of: Callable[[str], str], tmp_path: Path) -> None:
    path = shutil.copytree(spec_of("transformers").partition(":")[2], tmp_path / "vit") / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"attn_implementation": "nobody/kernel"}))
    with pytest.raises(UnlogitError, match="asks for the compiled code of 'nobody/kernel', which is not run"):
        open_classifier(f"transformers:{tmp_path / 'vit'}")


@pytest.mark.parametrize("way", ["tokenizer", "text model"])
def test_a_clip_from_the_hub_runs_no_code(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tokenizer_kwargs` of its configuration went on to transformers, trust_remote_code included."""
    open_clip = pytest.importorskip("open_clip")
    repo = tmp_path / "repo"
    repo.mkdir()
    trace = tmp_path / "was-run"
    (repo / "net.py").write_text(f"import pathlib\npathlib.Path({str(trace)!r}).touch()\n")
    auto = {"AutoTokenizer": ["net.T", None], "AutoConfig": "net.C", "AutoModel": "net.M"}
    (repo / "tokenizer_config.json").write_text(json.dumps({"auto_map": auto, "tokenizer_class": "T"}))
    if way == "text model":
        (repo / "config.json").write_text(json.dumps({"auto_map": auto, "model_type": "bert", "hidden_size": 16}))
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    if way == "tokenizer":
        text |= {"hf_tokenizer_name": str(repo), "tokenizer_kwargs": {"trust_remote_code": True}}
    else:
        text |= {"hf_model_name": str(repo)}
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": {}}
    (repo / "open_clip_config.json").write_text(json.dumps(config))
    monkeypatch.setattr("unlogit.classifiers.open_clip.reach", lambda *_: None)
    monkeypatch.setattr(
        open_clip.factory,
        "download_pretrained_from_hf",
        lambda _id, filename="open_clip_config.json", **_: str(repo / filename),
    )
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    if way == "tokenizer":  # The attack is one.
        with pytest.raises(Exception, match="net"):
            open_clip.get_tokenizer("hf-hub:nobody/clip")
        assert trace.exists()
        trace.unlink()
        for name in [name for name in sys.modules if name.startswith("transformers_modules")]:
            del sys.modules[name]
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    spec = f"open_clip:hf-hub:nobody/clip?pretrained=false&classes={tmp_path / 'names.txt'}"
    with pytest.raises(UnlogitError) as error:
        open_classifier(spec)
    assert not trace.exists() and "\n" not in str(error.value)
    wanted = "tokenizer of .*custom code" if way == "tokenizer" else "brings code of its own, which is not run"
    assert re.search(wanted, str(error.value)), error.value


def test_a_fitted_classifier_that_names_itself_is_one_line(fitted: str) -> None:
    path = Path(fitted.removeprefix("fitted:")) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architecture": fitted}))
    with pytest.raises(UnlogitError, match="must not be a fitted one"):
        open_classifier(fitted)
