"""Metrics. Those that give one value per image from pixels alone are found by name: `get("ssim")`."""

from __future__ import annotations

from collections.abc import Callable

from unlogit.errors import unknown
from unlogit.metrics import perceptual
from unlogit.metrics._base import Metric, Unavailable
from unlogit.metrics.pixel import WINDOW, layout_error, pixel_error, psnr, ssim

__all__ = ["Metric", "Unavailable", "get", "names"]

FEATURES, FLIP = "features:", "_flip"

_PLAIN = (
    Metric("pixel_error", "pixel error", "lower", "mean squared difference of pixels in [0, 1]", pixel_error),
    Metric("psnr", "PSNR", "higher", "pixel error in decibels; at most 58.9, where only rounding differs", psnr),
    Metric("ssim", "SSIM", "higher", f"structural similarity in windows of {WINDOW} px, 1 for equal images", ssim),
    Metric(
        "layout_error",
        "layout error",
        "lower",
        "mean squared difference of the coarse colours (4 x 4 areas, blind to left and right)",
        layout_error,
    ),
)
_METRICS: dict[str, Callable[[], Metric]] = {
    **{metric.name: (lambda metric=metric: metric) for metric in _PLAIN},  # type: ignore[misc]
    "lpips_alex": lambda: perceptual.lpips("alex"),
    "lpips_vgg": lambda: perceptual.lpips("vgg"),
    "lpips_squeeze": lambda: perceptual.lpips("squeeze"),
    "st_lpips_alex": lambda: perceptual.st_lpips("alex"),
    "st_lpips_vgg": lambda: perceptual.st_lpips("vgg"),
    "dists": perceptual.dists,
}


def names() -> list[str]:
    """Return the names of all metrics, whether or not their weights are on this machine."""
    return list(_METRICS)


def get(name: str) -> Metric:
    """Return the metric of that name, which is called with (originals, reconstructions).

    "NAME_flip" takes the better of the reconstruction and its mirror image, and "features:SOURCE:NAME" the cosine
    between penultimate features of that classifier.

    Raises:
        UnlogitError: the name is unknown; or, as `Unavailable`, a package or weights are not on this machine.
    """
    if name.startswith(FEATURES):
        return perceptual.features(name.removeprefix(FEATURES))
    plain = name.removesuffix(FLIP)
    if plain not in _METRICS:
        raise unknown("metric", name, [*_METRICS, f"{FEATURES}SOURCE:NAME"])
    metric = _METRICS[plain]()
    return metric.flip_aware() if plain != name else metric
