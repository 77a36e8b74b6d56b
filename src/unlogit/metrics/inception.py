"""Features of the Inception network of published FIDs, if its weights are on this machine."""

from __future__ import annotations

import functools
import importlib.util
import pickle
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from unlogit.images import check_pixels, to_bytes
from unlogit.metrics._base import Unavailable

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
"""torch-fidelity's file name of TensorFlow's weights of 2015, by which FID is defined (Heusel et al. 2017)."""


def find_weights() -> Path:
    """Return the file of the weights; raise `Unavailable` if it or torch-fidelity is missing. Never downloads."""
    if importlib.util.find_spec("torch_fidelity") is None:
        raise Unavailable(
            "FID in Inception needs torch-fidelity, which is not installed: pip install 'unlogit[metrics]'"
        )
    file = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS
    if not file.is_file():
        raise Unavailable(
            f"FID in Inception needs weights that are not at {file}: put them there; torch-fidelity downloads "
            "this file at its first use"
        )
    return file


@functools.cache
def features() -> Callable[[Tensor], Tensor]:
    """Return a function from pixels N x 3 x H x W in [0, 1] to Inception's pooled features, N x 2048.

    Raises `Unavailable` as `find_weights` does, and for a file that is not a state dict.
    """
    file = find_weights()
    try:
        # torch-fidelity loads with pickle; a file that loads as plain weights cannot run code there either.
        torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise Unavailable(f"FID in Inception: '{file}' holds no plain weights: download it again") from error
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(file))

    @torch.no_grad()
    def measure(images: Tensor) -> Tensor:
        pooled: Tensor = network(to_bytes(check_pixels(images)))[0]
        return pooled

    return measure
