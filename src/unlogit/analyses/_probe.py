"""Linear probes of the representations that inverters read: layout, colours and, for scenes, every known factor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.analyses._evidence import Evidence, Images
from unlogit.analyses._factors import Reading, of_source
from unlogit.images.scenes import SceneImages
from unlogit.metrics.pixel import layout
from unlogit.metrics.probe import Probed, cross_fit, fit_ridge

FOLDS = 5
LEAST = 40
"""Minimum number of images in which a factor is visible, for a probe of it."""
LAYOUT, COLOURS = "layout", "colours"


def probed_names(evidence: Evidence) -> dict[str, list[str]]:
    """Return, by the first inverter of each classifier and layer, all inverters that read the same."""
    groups: dict[tuple[str, str], list[str]] = {}
    for first, sharing in evidence.classifiers().items():
        for name in sharing:
            groups.setdefault((first, evidence.inverters[name].representation.layer), []).append(name)
    return {names[0]: names for names in groups.values()}


def probe(evidence: Evidence, name: str, targets: Tensor, of_training: Tensor | None, which: Tensor) -> Probed:
    """Read targets, N x D, from the representation that inverter `name` reads, of the held-out images `which`.

    The probe is fitted on the evidence's training images, whose targets are `of_training`; without those, each image is
    read by a probe that is fitted on other held-out images.
    """
    raw = evidence.raw(name)[which]
    if of_training is None:
        return cross_fit(raw, targets, FOLDS, evidence.seed)
    return fit_ridge(evidence.training_raw(name), of_training)(raw)


def probe_layout(evidence: Evidence, name: str) -> tuple[Reading, Tensor]:
    """Return the predicted layout, and one layout cosine per image, N, measured as for inverters."""
    truth = _over(evidence.originals, layout)
    training = evidence.training_images
    probed = probe(
        evidence, name, truth, None if training is None else _over(training, layout), torch.arange(len(evidence))
    )
    centre = truth.mean(0)
    return _reading(probed, truth), F.cosine_similarity(truth - centre, probed.read.float() - centre)


def probe_others(evidence: Evidence, name: str) -> dict[str, Reading]:
    """Return the readings of colours and factors, by target, from the representation that inverter `name` reads."""
    every = torch.arange(len(evidence))
    truth, training = _over(evidence.originals, colours), evidence.training_images
    of_training = None if training is None else _over(training, colours)
    readings = {COLOURS: _reading(probe(evidence, name, truth, of_training, every), truth)}
    # Scenes of other sources have other factors, so that factors are always read by cross-fitted probes.
    if isinstance(evidence.source, SceneImages):
        for factor, target in of_source(evidence.source, evidence.indices).items():
            visible = target.shows.nonzero()[:, 0]
            if len(visible) >= LEAST:
                values = target.values[visible]
                readings[factor] = _reading(
                    cross_fit(evidence.raw(name)[visible], values, FOLDS, evidence.seed), values
                )
    return readings


def colours(images: Tensor) -> Tensor:
    """Return mean and standard deviation over pixels of each channel, N x 6."""
    deviation, mean = torch.std_mean(images.flatten(2), 2)
    return torch.cat([mean, deviation], 1)


def _over(images: Images, target: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.cat([target(chunk) for chunk in images.chunks()])


def _reading(probed: Probed, truth: Tensor) -> Reading:
    return Reading(probed.read - probed.baseline, truth.double() - probed.baseline, probed.baseline, None)
