"""`checkpoint:FILE?arch=timm:resnet50`: weights in a file (.safetensors, or torch's of tensors alone), an architecture.

The architecture is one of timm or torchvision (`arch=torchvision:resnet50`); the number of classes is that of the
weights. `&classes=names.txt` names them, a name a line; `&size=64`, `&mean=0.5,0.5,0.5` and `&std=0.25,0.25,0.25` tell
the side in pixels and the normalisation that it was trained with, where they are not the architecture's usual ones.
"""

from __future__ import annotations

from unlogit.classifiers._assembling import adjusted, assemble
from unlogit.classifiers._base import Classifier
from unlogit.classifiers._options import canonical, existing_file, parse_options, read_class_names
from unlogit.classifiers._weights import read_weights, with_weights
from unlogit.errors import UnlogitError


def open_source(rest: str, spec: str) -> Classifier:
    """Open a file; raises `UnlogitError` where it is missing, damaged or of another architecture."""
    name, options = parse_options(rest, spec, ("arch", "classes", "mean", "size", "std"))
    file = existing_file(name, f"checkpoint '{name}' of '{spec}'")
    if "arch" not in options:
        raise UnlogitError(f"classifier '{spec}': of which architecture? write 'checkpoint:{name}?arch=timm:resnet50'")
    network, preprocessing = with_weights(options["arch"], read_weights(file), file, spec)
    preprocessing = adjusted(preprocessing, options)
    return assemble(network, preprocessing, canonical(spec, file, options), read_class_names(options))
