"""`madry:FILE`: robust networks of MadryLab's `robustness` library, such as `madry:resnet50_l2_eps3.ckpt`.

Its architectures are torchvision's, named by `?arch=wide_resnet50_2` where it is not a ResNet-50; the normalisation is
in the file. `&classes=names.txt` names the classes, a name a line; `&size=128` feeds it smaller images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from unlogit.classifiers._assembling import adjusted, assemble
from unlogit.classifiers._base import Classifier
from unlogit.classifiers._options import Side, canonical, existing_file, read_class_names, read_options, triple
from unlogit.classifiers._weights import read_weights, with_weights
from unlogit.settings import Checked

# Beside the network the library keeps its normaliser, and both once more inside the attacker.
NETWORK, NORMALISER = "model.", "normalizer."
# The library pickles with dill, and in some files more than tensors.
ADVICE = (
    "it must hold tensors alone, and some of the library's hold functions too; if you trust where it is from, write "
    "its tensors to another file: import dill, torch; torch.save({'model': torch.load(FILE, map_location='cpu', "
    "pickle_module=dill, weights_only=False)['model']}, NEW)"
)


@dataclass(frozen=True)
class Options(Checked):
    """Options of this source; see the module."""

    arch: str = "resnet50"
    classes: Path | None = None
    size: Side | None = None


def open_source(rest: str, spec: str) -> Classifier:
    """Open a file; raises `UnlogitError` where it is missing, damaged or of another architecture."""
    name, options = read_options(Options, rest, spec)
    file = existing_file(name, f"checkpoint '{name}' of '{spec}'")
    weights = read_weights(file, ADVICE)
    arch = options.arch if ":" in options.arch else f"torchvision:{options.arch}"
    network, preprocessing = with_weights(arch, _network(weights), file, spec)
    if f"{NORMALISER}new_mean" in weights:
        mean, std = (triple(weights.get(f"{NORMALISER}new_{key}"), f"the {key} in '{file}'") for key in ("mean", "std"))
        preprocessing = replace(preprocessing, mean=mean, std=std)
    preprocessing = adjusted(preprocessing, options)
    return assemble(network, preprocessing, canonical(spec, file, options), read_class_names(options.classes))


def _network(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's own tensors; those of a file that has no other are taken as they are."""
    own = {key.removeprefix(NETWORK): value for key, value in weights.items() if key.startswith(NETWORK)}
    return own or weights
