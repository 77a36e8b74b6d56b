"""`transformers:NAME`: image classifiers of Hugging Face transformers, by their name on the hub or a local folder.

`transformers:google/vit-base-patch16-224`, or `transformers:FOLDER` as `save_pretrained` writes it. Size, normalisation
and class names come with it. Weights are read from .safetensors alone; `?pretrained=false` leaves them random.
`?size=128` feeds it smaller images, where it can take them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unlogit.classifiers._assembling import adjusted, assemble
from unlogit.classifiers._base import Classifier, Preprocessing
from unlogit.classifiers._hub import NO_CODE, reach
from unlogit.classifiers._options import Side, canonical, read_options, triple
from unlogit.errors import UnlogitError, first_line
from unlogit.settings import Checked
from unlogit.trust import check_path

BILINEAR = 2
"""Pillow's number for it, which image processors use."""


class Logits(nn.Module):
    """The logits alone of what a model of transformers gives."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(pixel_values=x).logits


@dataclass(frozen=True)
class Options(Checked):
    """Options of this source; see the module."""

    pretrained: bool = True
    size: Side | None = None


def open_source(rest: str, spec: str) -> Classifier:
    """Open by name; raises `UnlogitError` where it cannot be loaded, has no safetensors, or is no image classifier."""
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise UnlogitError(f"classifier '{spec}' needs transformers: pip install 'unlogit[classifiers]'") from error
    path_or_id, options = read_options(Options, rest, spec)
    folder = Path(path_or_id).expanduser().resolve()
    if not path_or_id or (path_or_id.startswith((".", "/", "~")) and not folder.is_dir()):
        raise UnlogitError(f"classifier '{spec}': no folder '{path_or_id}': give a folder, or OWNER/NAME on the Hub")
    name = str(check_path(folder)) if folder.is_dir() else path_or_id
    try:
        if not folder.is_dir():
            reach(name, ("config.json",))
        config = transformers.AutoConfig.from_pretrained(name, **NO_CODE)
        if "/" in str(kernel := getattr(config, "_attn_implementation", None)):
            raise ValueError(f"its config.json asks for the compiled code of '{kernel}', which is not run")
        processor = transformers.AutoImageProcessor.from_pretrained(name, **NO_CODE)
        if not options.pretrained:
            torch.manual_seed(0)  # since a spec names one classifier
            model = transformers.AutoModelForImageClassification.from_config(config, **NO_CODE)
            missing = []
        else:
            model, info = transformers.AutoModelForImageClassification.from_pretrained(
                name, use_safetensors=True, output_loading_info=True, **NO_CODE
            )
            missing = sorted(info["missing_keys"])
    # Whatever went wrong on the way (no network, no such name, pickles alone, a broken file).
    except Exception as error:
        raise UnlogitError(
            f"classifier '{spec}' could not be loaded by transformers ({first_line(error)}): must be an image "
            "classifier's name on the Hub, or a folder with config.json, preprocessor_config.json and model.safetensors"
        ) from error
    if missing:
        raise UnlogitError(f"classifier '{spec}' was not trained as a classifier: its weights lack {missing[0]}")
    preprocessing = adjusted(_preprocessing(processor, spec), options)
    names = [config.id2label[index] for index in range(config.num_labels)]
    # Of its own accord it keeps half precision, which images in float32 do not fit.
    return assemble(Logits(model.float()), preprocessing, canonical(spec, name, options), names)


def _preprocessing(processor: Any, spec: str) -> Preprocessing:
    """What an image processor does, less the resizing before the crop, for pixels in [0, 1] instead of [0, 255]."""
    values = processor.to_dict()
    side = (values.get("crop_size") if values.get("do_center_crop") else None) or values.get("size")
    size = side if isinstance(side, int) else _side(dict(side or {}))
    if size is None:
        raise UnlogitError(f"classifier '{spec}': its image processor has no size for square images ({side})")
    mean, std = torch.zeros(3), torch.ones(3)
    if values.get("do_normalize"):
        mean, std = torch.tensor(values["image_mean"]), torch.tensor(values["image_std"])
    if values.get("do_rescale", True):
        # (255 f x - offset - mean) / std, of which f = 1 / 255 without an offset is the usual.
        full = 255 * values.get("rescale_factor", 1 / 255)
        mean, std = (mean + float(bool(values.get("rescale_offset")))) / full, std / full
    else:
        mean, std = mean / 255, std / 255
    mean3, std3 = (triple([round(v, 6) for v in t.tolist()], f"normalisation of '{spec}'") for t in (mean, std))
    return Preprocessing(size, mean3, std3, "bilinear" if values.get("resample") == BILINEAR else "bicubic")


def _side(size: dict[str, int]) -> int | None:
    """The side of a square, from height and width or the shortest edge."""
    if "shortest_edge" in size:
        return size["shortest_edge"]
    return size.get("height") if size.get("height") == size.get("width") else None
