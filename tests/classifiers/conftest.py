"""One classifier of random weights of every source, in files where the source reads files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from unlogit.classifiers import open_classifier
from unlogit.classifiers._starts import save

NET = '''
"""A network of one's own."""
import torch
from torch import nn

class Net(nn.Module):
    input_size = 48
    mean = torch.tensor([[[0.1]], [[0.2]], [[0.3]]])
    std = 0.5, 0.6, 0.7
    class_names = "ant", "bee", "cow"

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))

def make():
    return Net()

def text():
    return "no network"

def tokens():
    return nn.Flatten(2)

def unread():
    return nn.Sequential(nn.Flatten(), nn.Linear(10, 3))

def bare():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 5, 1), nn.Flatten())

def broken():
    raise RuntimeError("no such file: weights.npz")
'''

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def _transformers(folder: Path) -> str:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    names = {0: "red", 1: "green", 2: "blue", 3: "none"}
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        id2label=names,
        label2id={name: index for index, name in names.items()},
    )
    ViTForImageClassification(config).save_pretrained(folder / "vit")
    size = {"height": 32, "width": 32}
    ViTImageProcessor(size=size, image_mean=[0.4] * 3, image_std=[0.3] * 3, resample=3).save_pretrained(folder / "vit")
    return f"transformers:{folder / 'vit'}"


def _open_clip(folder: Path) -> str:
    import open_clip

    (folder / "tiny-clip.json").write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(folder / "tiny-clip.json")
    (folder / "pets.txt").write_text("cat\ndog\n\ngrass_snake\n")
    return f"open_clip:tiny-clip?pretrained=false&classes={folder / 'pets.txt'}"


def save_like_madry(network: nn.Module, path: Path) -> None:
    """Write what the `robustness` library writes of a network in training."""
    normaliser = {"new_mean": torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), "new_std": torch.full((3, 1, 1), 0.25)}
    state = {f"module.normalizer.{k}": v for k, v in normaliser.items()}
    state |= {f"module.attacker.normalize.{k}": v for k, v in normaliser.items()}
    for part in ("module.model", "module.attacker.model"):
        state |= {f"{part}.{k}": v for k, v in network.state_dict().items()}
    torch.save({"model": state, "epoch": 90, "optimizer": {"lr": 0.1}, "adv_prec1": torch.tensor(55.0)}, path)


@pytest.fixture(scope="session")
def like_madry() -> Callable[[nn.Module, Path], None]:
    return save_like_madry


def _madry(folder: Path) -> str:
    torch.manual_seed(1)
    save_like_madry(timm.create_model("test_resnet", num_classes=10), folder / "robust.ckpt")
    return f"madry:{folder / 'robust.ckpt'}?arch=timm:test_resnet&size=64"


def _checkpoint(folder: Path) -> str:
    torch.manual_seed(2)
    save_file(timm.create_model("test_resnet", num_classes=7).state_dict(), folder / "seven.safetensors")
    return f"checkpoint:{folder / 'seven.safetensors'}?arch=timm:test_resnet&size=64&mean=0.4,0.5,0.6&std=0.2"


def _fitted(folder: Path) -> str:
    start = "timm:test_resnet?pretrained=false&size=64"
    (folder / "fit").mkdir()
    save(folder / "fit", open_classifier(start), start, {})
    return f"fitted:{folder / 'fit'}"


def _python(folder: Path) -> str:
    (folder / "net.py").write_text(NET)
    return f"python:{folder / 'net.py'}:make"


SPECS: dict[str, Callable[[Path], str]] = {
    "checkpoint": _checkpoint,
    "fitted": _fitted,
    "madry": _madry,
    "mini": lambda _: "mini:vit?logits=7",
    "open_clip": _open_clip,
    "packaged": lambda _: "packaged:efficientnet_lite0?size=64",
    "python": _python,
    "timm": lambda _: "timm:test_resnet?pretrained=false",
    "torchvision": lambda _: "torchvision:squeezenet1_1?pretrained=false&size=64",
    "transformers": _transformers,
}


@pytest.fixture(scope="session")
def spec_of(tmp_path_factory: pytest.TempPathFactory, tiny_classifier_spec: str) -> Callable[[str], str]:
    """The spec of a classifier of a source; its files are made when first asked for."""
    made = {"small": tiny_classifier_spec}

    def spec(source: str) -> str:
        if source not in made:
            made[source] = SPECS[source](tmp_path_factory.mktemp(source))
        return made[source]

    return spec
