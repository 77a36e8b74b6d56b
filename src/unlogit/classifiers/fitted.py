"""`fitted:FOLDER`: a classifier that `unlogit classify` trained from another one; `fitted:NAME`: a packaged one.

Both take the side that images are resized to, as in `fitted:NAME?size=64`.

The folder holds `config.json` (architecture, preprocessing, class names, how it was fitted and the accuracies it
reached) beside `model.safetensors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from unlogit import classifiers
from unlogit.classifiers._assembling import adjusted
from unlogit.classifiers._base import Classifier, Interpolation, Preprocessing
from unlogit.classifiers._options import SIDES, Side, canonical, read_options
from unlogit.classifiers._saved import ADVICE, check_names, read_classifier, read_weights_of
from unlogit.errors import UnlogitError
from unlogit.saved import CONFIG, WEIGHTS, read_header, read_json
from unlogit.settings import Checked
from unlogit.specs import Spec
from unlogit.trust import check_path

OURS = Path(__file__).parents[1] / "weights" / "classifiers"


def names() -> list[str]:
    """Return the names of the fitted classifiers that come with the package."""
    return sorted(p.parent.name for p in OURS.glob(f"*/{CONFIG}"))


def lineage(spec: str) -> list[str]:
    """Return the spec of a classifier, then of the one that its training started from, and so on.

    It follows the folders of fitted classifiers; one that cannot be read ends the list.
    """
    ancestors = [spec]
    while ancestors[-1].startswith("fitted:"):
        name = Spec.parse(ancestors[-1]).name
        try:
            folder = OURS / name if name in names() else check_path(Path(name).expanduser().resolve())
            start = read_json(folder / CONFIG, f"classifier '{ancestors[-1]}'", ADVICE)["fit"]["start"]
        except (UnlogitError, OSError, ValueError, KeyError, TypeError):
            break
        if not isinstance(start, str) or start in ancestors:
            break
        ancestors.append(start)
    return ancestors


@dataclass(frozen=True)
class Options(Checked):
    """Options of this source; see the module."""

    size: Side | None = None


def open_source(rest: str, spec: str) -> Classifier:
    """Open a folder that was fitted; raises `UnlogitError` where it is missing, damaged or another's, or an option is
    not allowed.
    """
    name, options, folder, config = _find(rest, spec)
    what = f"classifier '{spec}'"
    classes, head = config["class_names"], config["penultimate"]
    bare = classifiers.load_classifier(config["architecture"])
    if head not in dict(bare.network.named_modules()):
        raise UnlogitError(f"{CONFIG} of {what}: '{config['architecture']}' has no layer '{head}'")
    _, shape = read_header(folder / WEIGHTS, what, ADVICE).get(f"{head}.weight", ("", ()))
    if not shape:
        raise UnlogitError(f"{what} cannot be read: {WEIGHTS} has no matrix for its last layer '{head}': {ADVICE}")
    check_names(config, shape[0], what)  # Before a head of so many classes is made.
    if len(classes) != len(bare.class_names):
        with_head(bare.network, head, len(classes), spec)
    bare.network.load_state_dict(read_weights_of(bare.network, folder, what))
    saved = Preprocessing(config["size"], tuple(config["mean"]), tuple(config["std"]), config["interpolation"])
    opened = canonical(spec, name if name in names() else folder, options)
    return Classifier(bare.network, adjusted(saved, options), classes, head, opened)


def architecture(rest: str, spec: str) -> str:
    """Return the spec of a network of the same shape; raises `UnlogitError` as `open_source` does."""
    spec_of_network: str = _find(rest, spec)[3]["architecture"]
    return spec_of_network


def with_head(network: nn.Module, name: str, classes: int, spec: str) -> None:
    """Put a new last linear layer of that many outputs into a network."""
    head = network.get_submodule(name)
    if not isinstance(head, nn.Linear):
        raise UnlogitError(f"the last layer of {spec}, '{name}', is a {type(head).__name__}: must be linear")
    network.set_submodule(name, nn.Linear(head.in_features, classes))


def _find(rest: str, spec: str) -> tuple[str, Options, Path, dict[str, Any]]:
    """Return the name, options, folder and config.json."""
    name, options = read_options(Options, rest, spec)
    folder = OURS / name if name in names() else check_path(Path(name).expanduser().resolve())
    if not name or not (folder / CONFIG).is_file():
        raise UnlogitError(
            f"classifier '{spec}': no {CONFIG} in '{name}': give a folder that `unlogit classify` wrote, "
            f"or a packaged classifier ({', '.join(names()) or 'none'})"
        )
    return name, options, folder, _read_config(folder, f"classifier '{spec}'", name)


def _read_config(folder: Path, what: str, name: str) -> dict[str, Any]:
    if "network" in read_json(folder / CONFIG, what, ADVICE):
        raise UnlogitError(f"{what} is the built-in network: open it as small:{name}")
    own = {"architecture": str, "size": int | None, "interpolation": Interpolation, "penultimate": str}
    config = read_classifier(folder, what, own)
    high = SIDES.high
    if config["size"] is not None and not 1 <= config["size"] <= high:
        raise UnlogitError(f"{CONFIG} of {what}: size {config['size']}: must be 1 to {high} pixels, or null")
    if config["architecture"].startswith("fitted:"):
        # It would be opened for ever where it names itself; what is written here never names another.
        raise UnlogitError(f"{CONFIG} of {what}: architecture '{config['architecture']}': must not be a fitted one")
    return config
