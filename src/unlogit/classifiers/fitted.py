"""`fitted:FOLDER`: what `unlogit classify` made of another classifier, from scratch or fine-tuned; `fitted:NAME`: one
of those that come with unlogit; optionally with the side that pictures are resized to, `fitted:NAME?size=64`.

The folder holds `config.json` (architecture, preprocessing, class names, how it was fitted and the accuracies it
reached) beside `model.safetensors`.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from unlogit import classifiers
from unlogit.classifiers._base import Classifier, Preprocessing
from unlogit.classifiers._options import canonical, parse_options
from unlogit.classifiers._starts import with_head
from unlogit.classifiers.small import CONFIG, WEIGHTS
from unlogit.errors import UnlogitError

OURS = Path(__file__).parents[1] / "weights" / "classifiers"


def names() -> list[str]:
    """Names of the fitted classifiers that come with the package."""
    return sorted(p.parent.name for p in OURS.glob(f"*/{CONFIG}"))


def open_source(rest: str, spec: str) -> Classifier:
    """Open a folder that was fitted; raises `UnlogitError` where it is missing, damaged or another's, or an option is
    not allowed.
    """
    name, options = parse_options(rest, spec, ("size",))
    ours = name in names()
    folder = OURS / name if ours else Path(name).expanduser().resolve()
    if not name or not (folder / CONFIG).is_file():
        raise UnlogitError(
            f"classifier '{spec}': no {CONFIG} in '{name}': give the folder that `unlogit classify` made, "
            f"or one of those that come with unlogit ({', '.join(names()) or 'none'})"
        )
    try:
        config = json.loads((folder / CONFIG).read_text())
        if "architecture" not in config and "network" in config:
            raise UnlogitError(f"classifier '{spec}' is a built-in one: open it as small:{name}")
        bare = classifiers.load_classifier(config["architecture"])
        classes, head = config["class_names"], config["penultimate"]
        if len(classes) != len(bare.class_names):
            with_head(bare.network, head, len(classes), spec)
        bare.network.load_state_dict(load_file(folder / WEIGHTS))
        preprocessing = Preprocessing(
            int(options.get("size", config["size"])),
            tuple(config["mean"]),
            tuple(config["std"]),
            config["interpolation"],
        )
        opened = canonical(spec, name if ours else folder, options)
        return Classifier(bare.network, preprocessing, classes, head, opened)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise UnlogitError(
            f"classifier '{spec}' cannot be read ({reason}): fit it again with `unlogit classify`"
        ) from error
