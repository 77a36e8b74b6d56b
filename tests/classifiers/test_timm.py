"""`timm:`: any of its classifiers, without the network."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_mambaout"])
def test_preprocessing_and_last_layer_are_the_weights_own(name: str) -> None:
    c = open_classifier(f"timm:{name}?pretrained=false")
    cfg = c.network.pretrained_cfg
    assert (c.preprocessing.mean, c.preprocessing.std) == (cfg["mean"], cfg["std"])
    assert c.preprocessing.size == cfg["input_size"][1]
    assert len(c.class_names) == 1000 and c.class_names[1].startswith("goldfish")
    x = torch.rand(2, 3, 32, 32)
    found = c.features(x, ["penultimate"])
    assert torch.allclose(c.network.get_submodule(c.penultimate)(found["penultimate"]), c(x), atol=1e-5)


def test_random_weights_are_the_same_each_time_and_leave_the_generator_alone() -> None:
    state = torch.get_rng_state()
    first = open_classifier("timm:test_resnet?pretrained=false")
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert first.fingerprint() == open_classifier("timm:test_resnet?pretrained=false").fingerprint()


def test_a_smaller_input_can_be_asked_for() -> None:
    assert open_classifier("timm:test_resnet?pretrained=false&size=64").preprocessing.size == 64
    with pytest.raises(UnlogitError, match="takes images of 224 px only"):
        open_classifier("timm:vit_tiny_patch16_224?pretrained=false&size=64")


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
@pytest.mark.parametrize("classes", [1000, 7])
def test_weights_come_from_a_file(tmp_path: Path, kind: str, classes: int) -> None:
    torch.manual_seed(3)
    network = timm.create_model("test_resnet", num_classes=classes).eval()
    path = tmp_path / f"weights.{kind}"
    if kind == "pt":
        torch.save({"state_dict": network.state_dict()}, path)
    else:
        save_file(network.state_dict(), path)
    c = open_classifier(f"timm:test_resnet?checkpoint={path}")
    assert len(c.class_names) == classes
    assert (c.class_names[0] == "class 0") == (classes == 7)
    x = torch.rand(2, 3, 160, 160)
    assert torch.allclose(c(x), network(c.prepare(x)), atol=1e-5)


class Dangerous:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("was run",)


def test_a_pickle_of_objects_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Dangerous()}, tmp_path / "weights.pt")
    with pytest.raises(UnlogitError, match="must be a state dict of tensors alone"):
        open_classifier(f"timm:test_resnet?checkpoint={tmp_path / 'weights.pt'}")
    assert "was run" not in capsys.readouterr().out


def test_damaged_and_foreign_files_are_one_clear_line(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), whole)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:2000])
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(2)}, other)
    for spec in (
        f"timm:test_resnet?checkpoint={cut}",
        f"timm:test_resnet?checkpoint={other}",
        f"timm:test_vit?checkpoint={whole}",
        f"timm:test_resnet?checkpoint={tmp_path / 'none.pt'}",
    ):
        with pytest.raises(UnlogitError, match=r"checkpoint '.*'") as error:
            open_classifier(spec)
        assert "\n" not in str(error.value)


def test_without_the_network_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(UnlogitError, match=r"'timm:resnet26t' could not be downloaded .*resnet26t\?checkpoint=FILE"):
        open_classifier("timm:resnet26t")


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ("resnt18", "unknown timm classifier 'resnt18': did you mean resnet18"),
        ("resnet18.nope", "unknown weights 'nope' of timm classifier 'resnet18': there are .*resnet18.a1_in1k"),
        ("test_resnet?pretrained=perhaps", "'pretrained=perhaps' of .*: must be true or false"),
        (f"test_resnet?pretrained=false&checkpoint={__file__}", "not both"),
        ("test_resnet?weights=x", "unknown option"),
    ],
)
def test_a_wrong_name_or_option_is_one_clear_line(rest: str, told: str) -> None:
    with pytest.raises(UnlogitError, match=told):
        open_classifier(f"timm:{rest}")
