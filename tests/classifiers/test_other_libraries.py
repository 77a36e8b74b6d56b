"""`torchvision:`, `transformers:`, `open_clip:` and `python:`: what each library's own way gives, and its errors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torchvision import models

from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def told(spec: str, what: str) -> None:
    with pytest.raises(UnlogitError, match=what) as error:
        open_classifier(spec)
    assert "\n" not in str(error.value)


# torchvision


def test_torchvision_prepares_an_image_as_its_weights_do() -> None:
    transforms = models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    c = open_classifier("torchvision:squeezenet1_1?pretrained=false")
    # Larger than the crop, so that its own resizing and ours are both antialiased; our images are the whole crop.
    x = torch.rand(1, 3, 300, 300)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (transforms.mean, transforms.std))
    own = F.interpolate(x, (224, 224), mode="bilinear", antialias=True, align_corners=False)
    torch.testing.assert_close(c.prepare(x), (own - mean) / std)
    assert c.class_names == tuple(models.SqueezeNet1_1_Weights.DEFAULT.meta["categories"])


@pytest.mark.parametrize(
    ("rest", "what"),
    [
        ("resnt18", "unknown torchvision classifier 'resnt18': did you mean resnet18"),
        ("resnet50?weights=IMAGENET1K_V3", "must be one of DEFAULT, IMAGENET1K_V1, IMAGENET1K_V2. Did you mean"),
        ("resnet50?weights=DEFAULT&pretrained=false", "weights or pretrained=false, not both"),
        ("vit_b_32?pretrained=false&size=64", "cannot read images of 64 px .*: give another size"),
    ],
)
def test_torchvision_errors(rest: str, what: str) -> None:
    told(f"torchvision:{rest}", what)


@pytest.mark.usefixtures("offline")
def test_without_the_network_the_way_out_is_told() -> None:
    told("torchvision:squeezenet1_1", r"could not be downloaded .*'checkpoint:FILE\?arch=torchvision:squeezenet1_1'")
    told("transformers:google/vit-base-patch16-224", "could not be loaded by transformers .*folder with config.json")
    told("open_clip:ViT-B-32.laion2b_s34b_b79k", r"could not be loaded .*'open_clip:ViT-B-32\?checkpoint=FILE'")
    told("timm:hf-hub:nobody/nothing", "'timm:hf-hub:nobody/nothing' could not be downloaded")


# transformers


def test_transformers_gives_what_its_own_processor_and_model_give(spec_of: Callable[[str], str]) -> None:
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    spec = spec_of("transformers")
    folder = spec.partition(":")[2]
    c = open_classifier(spec)
    assert c.class_names == ("red", "green", "blue", "none") and c.penultimate == "model.classifier"
    levels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    inputs = AutoImageProcessor.from_pretrained(folder)(images=Image.fromarray(levels), return_tensors="pt")
    own = AutoModelForImageClassification.from_pretrained(folder).eval()(**inputs).logits
    pixels = torch.from_numpy(levels).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(c(pixels), own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "size", "mean", "std"),
    [
        ({"do_normalize": False}, 32, 0.0, 1.0),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False}, 32, 0.5, 0.5),
        ({"size": {"shortest_edge": 36}, "crop_size": 32, "do_center_crop": True}, 32, 0.4, 0.3),
        ({"size": {"shortest_edge": 32}}, 32, 0.4, 0.3),
    ],
)
def test_image_processors_are_understood(changes: dict[str, object], size: int, mean: float, std: float) -> None:
    from unlogit.classifiers.transformers import _preprocessing

    class Processor:
        def to_dict(self) -> dict[str, object]:
            usual = {"do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255}
            return (
                usual | {"size": {"height": 32, "width": 32}, "image_mean": [0.4] * 3, "image_std": [0.3] * 3} | changes
            )

    found = _preprocessing(Processor(), "")
    assert found.size == size
    assert found.mean == pytest.approx((mean,) * 3) and found.std == pytest.approx((std,) * 3)


def test_a_network_that_was_not_trained_to_classify_is_refused(spec_of: Callable[[str], str], tmp_path: Path) -> None:
    from transformers import ViTImageProcessor, ViTModel

    folder = spec_of("transformers").partition(":")[2]
    ViTModel.from_pretrained(folder).save_pretrained(tmp_path)
    ViTImageProcessor.from_pretrained(folder).save_pretrained(tmp_path)
    told(f"transformers:{tmp_path}", "was not trained as a classifier: its weights lack classifier")
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    told(f"transformers:{tmp_path}", "must be an image classifier's name")
    assert open_classifier(f"transformers:{tmp_path}?pretrained=false").class_names == ("red", "green", "blue", "none")


# open_clip


def test_zero_shot_logits_are_scaled_cosines_of_image_and_sentences(spec_of: Callable[[str], str]) -> None:
    import open_clip

    spec = spec_of("open_clip")
    c = open_classifier(f"{spec}&template=a drawing of a {{}}.")
    assert c.class_names == ("cat", "dog", "grass_snake")
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-clip", load_weights=False).eval()
    sentences = [f"a drawing of a {name}." for name in ("cat", "dog", "grass snake")]
    text = open_clip.get_tokenizer("tiny-clip")(sentences)
    x = torch.rand(2, 3, 32, 32)
    logits, _ = model.get_logits(c.prepare(x), text)
    torch.testing.assert_close(c(x), logits, rtol=1e-4, atol=1e-5)
    found = c.features(x, ["penultimate"])["penultimate"]
    assert torch.allclose(found.norm(dim=1), torch.ones(2), atol=1e-5)
    embedding = open_classifier(spec.partition("&")[0])
    torch.testing.assert_close(embedding(x), found)
    assert embedding.class_names[-1] == "dimension 15"


@pytest.mark.parametrize(
    ("rest", "what"),
    [
        ("ViT-B-3", "unknown open_clip network 'ViT-B-3': did you mean ViT-B-32"),
        ("RN50.openia", "unknown weights 'openia' of open_clip network 'RN50': there are openai"),
        ("RN50", "no weights given.*tag of openai"),
        ("RN50.openai?pretrained=false", "give only one of a tag, checkpoint or pretrained"),
        ("RN50.openai?template=a photo", "must have {} for the class name"),
    ],
)
def test_open_clip_errors(rest: str, what: str) -> None:
    told(f"open_clip:{rest}", what)


@pytest.mark.parametrize("library", ["open_clip", "transformers"])
def test_a_missing_library_is_told_with_the_command_that_installs_it(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    told(f"{library}:anything", r"pip install 'unlogit\[classifiers\]'")


# python


def test_a_network_s_own_attributes_are_its_preprocessing(spec_of: Callable[[str], str], tmp_path: Path) -> None:
    spec = spec_of("python")
    c = open_classifier(spec)
    assert c.class_names == ("ant", "bee", "cow") and c.penultimate == "fc"
    assert c.preprocessing.size == 48
    assert c.preprocessing.mean == pytest.approx((0.1, 0.2, 0.3)) and c.preprocessing.std == (0.5, 0.6, 0.7)
    (tmp_path / "names.txt").write_text("x\ny\nz\n")
    other = open_classifier(f"{spec}?size=64&mean=0&std=1,2,3&classes={tmp_path / 'names.txt'}")
    assert (other.preprocessing.size, other.preprocessing.mean, other.preprocessing.std) == (64, (0, 0, 0), (1, 2, 3))
    assert other.class_names == ("x", "y", "z")


def test_an_installed_factory_and_a_bare_network(spec_of: Callable[[str], str]) -> None:
    c = open_classifier("python:torchvision.models:squeezenet1_1?size=64")
    assert len(c.class_names) == 1000 and c.preprocessing.size == 64
    bare = open_classifier(spec_of("python").replace(":make", ":bare"))
    assert bare.preprocessing.size is None and bare.penultimate == "2" and bare.class_names[-1] == "class 4"
    x = torch.rand(2, 3, 20, 20)
    assert torch.equal(bare(x), bare.network(x))


@pytest.mark.parametrize(
    ("factory", "what"),
    [
        (":mke", "unknown factory of .* 'mke': must be one of .*Did you mean 'make'"),
        (":text", r"text\(\) gives a str, not a torch module"),
        (":tokens", r"returns shape \(2, 3, 4096\) for 2 images: must be logits, 2 x K"),
        (":unread", "cannot read images of 64 px"),
        (":broken", r"broken\(\) failed \(RuntimeError: no such file"),
        ("", "write python:package.module:factory or python:file.py:factory"),
    ],
)
def test_python_errors(factory: str, what: str, spec_of: Callable[[str], str]) -> None:
    told(spec_of("python").replace(":make", factory) if factory else "python:net", what)


def test_a_module_that_is_not_installed(tmp_path: Path) -> None:
    told("python:no_such_module_at_all:make", "No module named 'no_such_module_at_all'.*python:path/to/file.py")
    (tmp_path / "bad.py").write_text("1 +")
    told(f"python:{tmp_path / 'bad.py'}:make", "cannot be imported .SyntaxError")
