"""`checkpoint:` and `madry:`: weights in files, the number of classes theirs, and what does not fit told by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError
from unlogit.specs import Spec


def small(classes: int = 7) -> nn.Module:
    torch.manual_seed(3)
    return timm.create_model("test_resnet", num_classes=classes).eval()


def save(state: dict[str, Tensor], path: Path) -> Path:
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


@pytest.mark.parametrize(
    ("arch", "make"),
    [
        ("timm:test_resnet", small),
        ("torchvision:squeezenet1_1", lambda n: models.squeezenet1_1(num_classes=n).eval()),
        ("torchvision:mobilenet_v3_small", lambda n: models.mobilenet_v3_small(num_classes=n).eval()),
    ],
)
@pytest.mark.parametrize("classes", [7, 1000])
def test_logits_are_the_network_s_own(
    arch: str, make: Callable[[int], nn.Module], classes: int, tmp_path: Path
) -> None:
    network = make(classes)
    path = save(network.state_dict(), tmp_path / "w.safetensors")
    c = open_classifier(f"checkpoint:{path}?arch={arch}&size=64&mean=0.1,0.2,0.3&std=0.5")
    assert len(c.class_names) == classes and (c.class_names[0] == "class 0") == (classes == 7)
    x = torch.rand(2, 3, 64, 64)
    mean = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    torch.testing.assert_close(c(x), network((x - mean) / 0.5))


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 3}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_usual_wrappings_are_taken_off(wrap: Callable[[object], object], prefix: str, tmp_path: Path) -> None:
    network = small()
    torch.save(wrap({prefix + k: v for k, v in network.state_dict().items()}), tmp_path / "w.pt")
    c = open_classifier(f"checkpoint:{tmp_path / 'w.pt'}?arch=timm:test_resnet")
    x = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(c(x), network(c.prepare(x)))


def test_heads_for_training_alone_and_counters_are_no_matter(tmp_path: Path) -> None:
    network = models.googlenet(num_classes=5, aux_logits=True, init_weights=False).eval()
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert any(k.startswith("aux1.") for k in state)
    path = save(state, tmp_path / "w.safetensors")
    c = open_classifier(f"checkpoint:{path}?arch=torchvision:googlenet&size=64")
    assert len(c.class_names) == 5 and c.penultimate == "fc"


def test_class_names_come_from_a_file(tmp_path: Path) -> None:
    path = save(small(3).state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "names.txt").write_text("ant\n bee \n\ncow\n")
    spec = f"checkpoint:{path}?arch=timm:test_resnet&classes={tmp_path / 'names.txt'}"
    assert open_classifier(spec).class_names == ("ant", "bee", "cow")
    (tmp_path / "names.txt").write_text("ant\nbee\n")
    with pytest.raises(UnlogitError, match="has 3 logits, but 2 class names"):
        open_classifier(spec)


def test_a_plus_and_a_percent_sign_in_a_path_are_meant(tmp_path: Path) -> None:
    path = save(small().state_dict(), tmp_path / "a+b%20c.safetensors")
    assert len(open_classifier(f"timm:test_resnet?checkpoint={path}").class_names) == 7
    assert len(open_classifier(f"checkpoint:{path}?arch=timm:test_resnet").class_names) == 7


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("conv1.0.weight"), "it has no tensor 'conv1.0.weight'"),
        (lambda s: s.update(more=torch.zeros(1)), "nothing there takes its tensor 'more'"),
        (
            lambda s: s.update({"conv1.0.weight": torch.zeros(2, 3, 3, 3)}),
            r"'conv1.0.weight' has shape \(2, 3, 3, 3\), must",
        ),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(
    change: Callable[[dict[str, Tensor]], object], told: str, tmp_path: Path
) -> None:
    state = dict(small().state_dict())
    change(state)
    path = save(state, tmp_path / "w.safetensors")
    with pytest.raises(UnlogitError, match=f"does not fit 'timm:test_resnet': .*{told}"):
        open_classifier(f"checkpoint:{path}?arch=timm:test_resnet")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", r"no architecture given: write 'checkpoint:.*w.safetensors\?arch=timm:resnet50'"),
        ("?arch=resnet50", "write it as timm:resnet50 or torchvision:resnet50"),
        ("?arch=packaged:efficientnet_lite0", "unknown library of .* 'packaged': must be one of timm, torchvision"),
        ("?arch=timm:resnt18", "unknown timm classifier 'resnt18': did you mean resnet18"),
        ("?arch=torchvision:resnt18", "unknown torchvision classifier 'resnt18': did you mean resnet18"),
        ("?arch=timm:test_resnet&mean=0.5,0.5", "'mean=0.5,0.5' of .*: must be 3 values"),
        ("?arch=timm:test_resnet&std=a", "'std=a' of .*: must be 3 values"),
        ("?arch=timm:test_resnet&size=8", "size 8: must be at least 32"),
        ("?arch=timm:test_resnet&classes=none.txt", "classes 'none.txt' of .*: no such file"),
        ("?arch=timm:vit_tiny_patch16_224&size=64", "it has no tensor 'cls_token'"),
    ],
)
def test_a_wrong_option_is_told(query: str, told: str, tmp_path: Path) -> None:
    path = save(small().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UnlogitError, match=told) as error:
        open_classifier(f"checkpoint:{path}{query}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("folder", ["a b", "a&b", "p%20q", "x?size=64", "[1]", "x?size=[64]&y", "[timm:x]", "~", "ü=é"])
def test_any_path_is_opened_and_the_spec_opens_the_same(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / folder
    path.mkdir()
    save(small().state_dict(), path / "w.safetensors")
    (path / "names.txt").write_text("a\nb\nc\nd\ne\nf\ng\n")
    monkeypatch.chdir(tmp_path)
    options = (("arch", "timm:test_resnet"), ("classes", f"./{folder}/names.txt"))
    opened = open_classifier(str(Spec("checkpoint", f"./{folder}/w.safetensors", options)))
    monkeypatch.chdir(path)
    again = open_classifier(opened.spec)
    assert again.spec == opened.spec and again.class_names == tuple("abcdefg")
    assert again.weights_fingerprint() == opened.weights_fingerprint()


def test_paths_that_earlier_versions_wrote_without_encoding_are_read(tmp_path: Path) -> None:
    (tmp_path / "p%20q").mkdir()
    save(small().state_dict(), tmp_path / "p%20q" / "w.safetensors")
    (tmp_path / "p%20q" / "names.txt").write_text("a\nb\nc\nd\ne\nf\ng\n")
    folder = tmp_path / "p%20q"
    opened = open_classifier(f"checkpoint:{folder}/w.safetensors?arch=timm:test_resnet&classes={folder}/names.txt")
    assert opened.class_names == tuple("abcdefg")


class Dangerous:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("was run",)


def test_objects_in_a_robust_checkpoint_are_not_run_and_the_way_out_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"model": small().state_dict(), "schedule": Dangerous()}, tmp_path / "w.ckpt")
    with pytest.raises(UnlogitError, match=r"if you trust where it is from, .*pickle_module=dill") as error:
        open_classifier(f"madry:{tmp_path / 'w.ckpt'}?arch=timm:test_resnet")
    assert "was run" not in capsys.readouterr().out and "\n" not in str(error.value)


def test_a_robust_network_without_its_normaliser_takes_the_architecture_s(tmp_path: Path) -> None:
    network = small()
    torch.save({"model": {f"module.model.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "w.ckpt")
    c = open_classifier(f"madry:{tmp_path / 'w.ckpt'}?arch=timm:test_resnet")
    assert c.preprocessing.mean == (0.5, 0.5, 0.5)
    x = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(c(x), network(c.prepare(x)))
