"""Power spectra of reconstructions relative to the originals: missing or added detail, and periodic artefacts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import torch
from matplotlib.figure import Figure as Drawing
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._curves import draw_curve
from unlogit.analyses._evidence import Images
from unlogit.analyses._fidelity import MetricInfo
from unlogit.analyses._paired import report_pairs
from unlogit.drawing import INK, colour, panels, shorten, style
from unlogit.metrics.recognition import references
from unlogit.metrics.spectrum import (
    LOBE,
    Peak,
    band_excess,
    band_power,
    decibels,
    octave_excess,
    octaves,
    peak_excess,
    power_spectrum,
)
from unlogit.outside import figure_text
from unlogit.settings import Several
from unlogit.statistics import Difference, Estimate, statistic_test

TITLE = "Spectrum"
QUESTION = "At which spatial frequencies do reconstructions have more or less power than the originals?"

LIMIT = 12
"""Decibels at the ends of the maps' colours."""
RINGS = 14
ACROSS = 4


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Number of images."""

    images: Several = 10_000
    """Maximum number of held-out images."""


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield the excess by octave and its peak as a table, radial curves, maps, and paired differences."""
    which = evidence.sample(config.images, evidence.seed)
    images = Images(evidence.originals.bytes[which])
    originals = _spectra(images.chunks())
    rows: list[tuple[Cell, ...]] = []
    bands = octaves(evidence.view.size)
    for name, change in references(evidence.seed).items():
        changed = _spectra(map(change, images.chunks()))
        excess, peak = _measured(originals, changed, evidence.seed)
        rows.append(_row(name, excess, peak))
    spectra: dict[str, Tensor] = {}
    peaks: dict[str, Peak] = {}
    numbers: list[Result] = []
    for name in evidence.inverters:
        spectra[name] = _spectra(Images(evidence.reconstructed(name).images.bytes[which]).chunks())
        excess, peak = _measured(originals, spectra[name], evidence.seed)
        peaks[name] = peak
        rows.append(_row(name, excess, peak))
        numbers += [Record(f"excess {_named(band)}", name, e, "dB", None) for band, e in excess.items()]
        numbers.append(Record("largest excess", name, peak.excess, "dB", "lower"))
        numbers.append(_finding(name, excess[bands[0]].value, peak))
    caption = (
        f"Power over the originals in dB (0 is equal, 3 about twice as much) by octave of spatial frequency in cycles "
        f"per pixel: mean spectra (Hann window) of {len(which):,} held-out images of {evidence.source.spec} and of all "
        "channels, with 95 % bootstrap intervals over images. The largest excess is that at a single frequency, chosen "
        "by one half of the images and measured on the other, so that the choice does not make it larger."
    )
    columns = (
        Column("images"),
        *(Column(_named(band), None, "cycles per pixel") for band in bands),
        Column("largest", "lower", "largest excess at a single spatial frequency"),
        Column("at", None, "where: vertical, horizontal, in cycles per pixel"),
    )
    yield Table("excess", "Power over the originals", caption, columns, tuple(rows))
    with style():
        text = (
            "Left: mean power by spatial frequency, grey for the originals. Right: the same over the originals, in dB."
        )
        yield Figure("curves", "By spatial frequency", text, _curves(evidence, originals, spectra))
        text = (
            f"Power over the originals at each spatial frequency, from -{LIMIT} (blue) to {LIMIT} dB (red); a circle "
            "marks the largest excess. A periodic artefact is a few red points. The other half of the plane is the "
            "mirror image."
        )
        yield Figure("maps", "By direction", text, _maps(evidence, originals, spectra, peaks))
    yield from numbers
    yield from _compare(spectra, evidence.seed)


def _spectra(batches: Iterator[Tensor]) -> Tensor:
    return torch.cat([power_spectrum(batch) for batch in batches])


def _measured(
    originals: Tensor, reconstructions: Tensor, seed: int
) -> tuple[dict[tuple[float, float], Estimate], Peak]:
    return octave_excess(originals, reconstructions, seed), peak_excess(originals, reconstructions, seed)


def _named(band: tuple[float, float]) -> str:
    return f"{band[0]:.3g} to {band[1]:.3g}"


def _row(name: str, excess: dict[tuple[float, float], Estimate], peak: Peak) -> tuple[Cell, ...]:
    return (name, *excess.values(), peak.excess, f"{peak.vertical:.3f}, {peak.horizontal:.3f}")


def _finding(name: str, highest: float, peak: Peak) -> Finding:
    e = peak.excess
    return Finding(
        f"{name}: power in the highest octave is {highest:+.1f} dB over the originals, and the largest excess at a "
        f"single spatial frequency {e.value:+.1f} dB (95 % CI {e.low:.1f} to {e.high:.1f}, n = {e.n:,})."
    )


def _curves(evidence: Evidence, originals: Tensor, spectra: dict[str, Tensor]) -> Drawing:
    edges = torch.linspace(LOBE / evidence.view.size, 0.5, RINGS + 1).tolist()
    rings = list(pairwise(edges))
    middles = [(low + high) / 2 for low, high in rings]
    figure, (power, excess) = panels(1, 2, 3.0)
    power.plot(middles, band_power(originals, rings).mean(0), color=INK, linewidth=1.6, label="originals")
    for name, spectrum in spectra.items():
        ink = colour(list(evidence.inverters).index(name))
        power.plot(middles, band_power(spectrum, rings).mean(0), color=ink, linewidth=1.6, label=figure_text(name))
        draw_curve(excess, middles, list(band_excess(originals, spectrum, rings, evidence.seed).values()), ink, name)
    power.set_yscale("log")
    excess.axhline(0, color=INK, linewidth=0.8)
    for axis, title in ((power, "mean power"), (excess, "over the originals in dB")):
        axis.set_title(title)
        axis.set_xlabel("cycles per pixel")
    handles, labels = power.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 5), labelcolor=INK)
    return figure


def _maps(evidence: Evidence, originals: Tensor, spectra: dict[str, Tensor], peaks: dict[str, Peak]) -> Drawing:
    side = evidence.view.size
    across = min(ACROSS, len(spectra))
    figure, axes = panels(-(-len(spectra) // across), across, 4.2)
    half = 0.5 / side
    extent = (-half, originals.shape[2] / side - half, 0.5 - half, -0.5 - half)
    for axis, (name, spectrum) in zip(axes, spectra.items(), strict=False):
        ratio = torch.fft.fftshift(decibels(spectrum.mean(0), originals.mean(0)), 0).numpy()
        image = axis.imshow(np.asarray(ratio), cmap="RdBu_r", vmin=-LIMIT, vmax=LIMIT, extent=extent)
        axis.plot(peaks[name].horizontal, peaks[name].vertical, "o", markerfacecolor="none", color=INK, markersize=10)
        axis.set_title(figure_text(shorten(name, 24)), color=colour(list(evidence.inverters).index(name)))
        axis.set_xlabel("horizontal")
        axis.grid(visible=False)
    axes[0].set_ylabel("vertical, cycles per pixel")
    for axis in axes[len(spectra) :]:
        axis.axis("off")
    figure.colorbar(image, ax=axes, label="dB", shrink=0.8, aspect=30)
    return figure


def _compare(spectra: dict[str, Tensor], seed: int) -> Iterator[Result]:
    """Yield the power of every inverter over that of each later one, by octave."""
    bands = octaves(next(iter(spectra.values())).shape[1])
    metrics = [MetricInfo(f"excess {_named(band)}", f"power, {_named(band)}", None, "", unit="dB") for band in bands]
    powers = {name: band_power(each, bands).double() for name, each in spectra.items()}
    tests: dict[tuple[str, str, str], Difference] = {}
    for a, b in combinations(powers, 2):
        for i, metric in enumerate(metrics):
            of_a, of_b = powers[a][:, i], powers[b][:, i]

            def difference(weights: Tensor, of_a: Tensor = of_a, of_b: Tensor = of_b) -> Tensor:
                return decibels(weights @ of_a, weights @ of_b)

            tests[a, b, metric.name] = statistic_test(difference, len(of_a), seed)
    what = "Power of the first inverter over the second's in dB, by octave in cycles per pixel, on the same images."
    yield from report_pairs(metrics, tests, what)
