"""`open_clip:NAME.TAG?classes=names.txt`: CLIP's zero-shot logits; without classes, its image embedding.

`open_clip:ViT-B-32.laion2b_s34b_b79k` takes open_clip's weights of that tag, `open_clip:hf-hub:owner/name` anyone's on
the hub, `open_clip:ViT-B-32?checkpoint=FILE` those of a file, `?pretrained=false` random ones. `classes` is a text
file, a name a line, of which `template=a photo of a {}.` (the usual one) makes the sentences. A logit is the cosine of
image and sentence, times the learnt scale (Radford et al. 2021, figure 3). The embedding has length 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.checksums import damage
from unlogit.classifiers._assembling import assemble
from unlogit.classifiers._base import Classifier, Preprocessing
from unlogit.classifiers._hub import NO_CODE, reach
from unlogit.classifiers._options import canonical, read_class_names, read_options, triple
from unlogit.errors import UnlogitError, first_line, one_line
from unlogit.settings import Checked

HUB = "hf-hub:"
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""What weights are called on the hub."""
TEMPLATE = "a photo of a {}."


class Clip(nn.Module):
    """The image's side of CLIP: the normalised embedding, N x D, and a linear layer that compares it with text."""

    def __init__(self, visual: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.visual = visual
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.normalize(self.visual(x), dim=-1))


def names() -> list[str]:
    """Every network and tag of weights."""
    return [f"{name}.{tag}" for name, tag in _library("open_clip").list_pretrained()]


@dataclass(frozen=True)
class Options(Checked):
    """Options of this source; see the module."""

    checkpoint: Path | None = None
    classes: Path | None = None
    pretrained: bool | None = None
    template: str = TEMPLATE


def open_source(rest: str, spec: str) -> Classifier:
    """Open by name; raises `UnlogitError` for an unknown name or option, or weights that cannot be loaded."""
    library = _library(spec)
    name, options = read_options(Options, rest, spec)
    if "{}" not in options.template:
        raise UnlogitError(f"option 'template={options.template}' of '{spec}': must have {{}} for the class name")
    model = _model(library, name, options, spec)
    class_names = read_class_names(options.classes)
    data = library.get_model_preprocess_cfg(model)
    size = data["size"] if isinstance(data["size"], int) else data["size"][0]
    mean, std = (triple(data[key], f"{key} of '{spec}'") for key in ("mean", "std"))
    preprocessing = Preprocessing(size, mean, std, Preprocessing.resampling(data.get("interpolation", "bicubic")))
    spec = canonical(spec, name, options)
    if class_names is None:
        network = Clip(model.visual, nn.Identity())
        width = network.eval()(torch.zeros(1, 3, size, size)).shape[1]
        return Classifier(network, preprocessing, [f"dimension {i}" for i in range(width)], "head", spec)
    tokens = _tokenizer(library, name if name.startswith(HUB) else name.partition(".")[0], spec)
    head = _text_head(model.eval(), tokens([options.template.format(c.replace("_", " ")) for c in class_names]))
    return assemble(Clip(model.visual, head), preprocessing, spec, class_names, "head")


@torch.no_grad()
def _text_head(model: Any, tokens: Tensor) -> nn.Linear:
    """The linear layer from a normalised embedding to logits, of sentences as tokens, K x T."""
    text = torch.cat([model.encode_text(part, normalize=True) for part in tokens.split(64)])
    bias = getattr(model, "logit_bias", None)
    head = nn.Linear(text.shape[1], len(text), bias=bias is not None)
    head.weight.copy_(model.logit_scale.exp() * text)
    if bias is not None:
        head.bias.fill_(float(bias))
    return head


def _tokenizer(library: Any, base: str, spec: str) -> Any:
    """The function from sentences to tokens; a repository's configuration may not have it run code."""
    try:
        # open_clip hands the configuration's options on to transformers; what is given here goes before them.
        uses_transformers = library.get_model_config(base)["text_cfg"].get("hf_tokenizer_name")
        return library.get_tokenizer(base, **(NO_CODE if uses_transformers else {}))
    # Whatever a repository's files may cause in either library.
    except Exception as error:
        raise UnlogitError(
            f"tokenizer of '{spec}' could not be loaded ({one_line(error)}): choose another CLIP"
        ) from error


def _check_text(library: Any, base: str) -> None:
    """Raise `ValueError` where the text model's repository brings code, which transformers would offer to run."""
    name = library.get_model_config(base)["text_cfg"].get("hf_model_name")
    if name:
        from transformers import AutoConfig

        if getattr(AutoConfig.from_pretrained(name, **NO_CODE), "auto_map", None):
            raise ValueError(f"its text model '{name}' brings code of its own, which is not run")


def _model(library: Any, name: str, options: Options, spec: str) -> Any:
    base, _, tag = (name, "", "") if name.startswith(HUB) else name.partition(".")
    if (options.checkpoint, options.pretrained, tag or None).count(None) < 2:
        raise UnlogitError(f"classifier '{spec}': give only one of a tag, checkpoint or pretrained")
    _check(library, base, tag, spec)
    random = options.pretrained is False
    weights = None if random else str(options.checkpoint or tag or "") or None
    if not (random or weights or base.startswith(HUB)):
        tags = ", ".join(library.list_pretrained_tags_by_model(base)) or "none"
        raise UnlogitError(f"classifier '{spec}': no weights given: write 'open_clip:{base}.TAG', with a tag of {tags}")
    if options.checkpoint and (wrong := damage(options.checkpoint)):
        raise UnlogitError(f"checkpoint '{options.checkpoint}' is damaged ({wrong}): copy it again")
    torch.manual_seed(0)  # since a spec names one classifier
    try:
        repo = base.removeprefix(HUB) if base.startswith(HUB) else _repo(library, base, tag)
        if repo:
            reach(repo, FILES)
        _check_text(library, base)
        return library.create_model(base, weights, load_weights=not random, weights_only=True)
    # Whatever went wrong on the way (no network, a full disk, a file of something else).
    except Exception as error:
        way = (
            "must be a state dict that holds tensors alone"
            if options.checkpoint
            else f"with a file of the weights, write 'open_clip:{base}?checkpoint=FILE'"
        )
        raise UnlogitError(f"weights of '{spec}' could not be loaded ({first_line(error)}): {way}") from error


def _repo(library: Any, base: str, tag: str) -> str | None:
    """Where on the hub the weights of a tag are; None for those that are elsewhere."""
    return library.get_pretrained_cfg(base, tag).get("hf_hub") if tag else None


def _check(library: Any, base: str, tag: str, spec: str) -> None:
    if base.startswith(HUB):
        return
    names: Sequence[str] = library.list_models()
    if base not in names:
        close = difflib.get_close_matches(base, names, n=5)
        hint = f"did you mean {', '.join(close)}?" if close else "`unlogit list classifiers 'open_clip:*'` lists all"
        raise UnlogitError(f"unknown open_clip network '{base}': {hint}")
    tags = library.list_pretrained_tags_by_model(base)
    if tag and tag not in tags:
        raise UnlogitError(
            f"unknown weights '{tag}' of open_clip network '{base}': there are {', '.join(tags) or 'none'}"
        )


def _library(spec: str) -> Any:
    try:
        import open_clip  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise UnlogitError(f"classifier '{spec}' needs open_clip: pip install 'unlogit[classifiers]'") from error
    return open_clip
