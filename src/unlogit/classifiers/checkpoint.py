"""`checkpoint:FILE?arch=timm:resnet50`: an architecture with weights from a file.

The file is .safetensors, or one of torch that holds tensors only. The architecture is one of timm or torchvision
(`arch=torchvision:resnet50`); the number of classes is that of the weights. `&classes=names.txt` names the classes, one
name per line; `&size=64`, `&mean=0.5,0.5,0.5` and `&std=0.25,0.25,0.25` give the side in pixels and the
normalisation that it was trained with, where they are not the architecture's usual ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from unlogit.classifiers._assembling import adjusted, assemble
from unlogit.classifiers._base import Classifier
from unlogit.classifiers._options import OwnOptions, canonical, existing_file, read_class_names, read_options
from unlogit.classifiers._weights import read_weights, with_weights
from unlogit.errors import UnlogitError


@dataclass(frozen=True)
class Options(OwnOptions):
    """Options of this source; see the module."""

    arch: str | None = None


def open_source(rest: str, spec: str) -> Classifier:
    """Open a file; raises `UnlogitError` where it is missing, damaged or of another architecture."""
    name, options = read_options(Options, rest, spec)
    file = existing_file(name, f"checkpoint '{name}' of '{spec}'")
    if options.arch is None:
        raise UnlogitError(f"classifier '{spec}': no architecture given: write 'checkpoint:{name}?arch=timm:resnet50'")
    network, preprocessing = with_weights(options.arch, read_weights(file), file, spec)
    preprocessing = adjusted(preprocessing, options)
    return assemble(network, preprocessing, canonical(spec, file, options), read_class_names(options.classes))
