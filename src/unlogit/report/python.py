"""`unlogit.analyse`: the analyses and the report from Python, for inverters and images that may be objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from unlogit import analyses
from unlogit.analyses import Evidence, perceptual_network
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, open_images
from unlogit.methods import Inverter, called, open_inverter
from unlogit.report.page import write_report
from unlogit.report.sections import Part

AnyInverters = Mapping[str, Inverter | str] | Sequence[Inverter | str] | Inverter | str


def analyse(
    inverters: AnyInverters,
    images: str | ImageSource,
    only: Sequence[str] = (),
    *,
    out: Path | str = "analysis",
    limit: int = 1_000,
    seed: int = 0,
) -> Part:
    """Run all analyses, or the named ones, and write report.html, metrics.json and results/ as the command does.

    Results of an earlier call in `out` are reused where inverters, images, options and code are the same.

    Args:
        inverters: one or several, opened or as for `open_inverter`; a mapping names them.
        images: held-out images, opened or as source:name.
        only: analyses, such as ["layout", "noise"]; by default all of them. `unlogit list analyses` names them.
        out: folder of the report.
        limit: number of images, 2 or more, spread at random over the source.
        seed: random seed for the noise and for all resampling.

    Returns:
        The results: a section per analysis, with its figures, tables and numbers.

    Raises:
        UnlogitError: an argument cannot be opened, two inverters have the same name, an analysis is unknown, or
            `out` holds files that unlogit did not write.
    """
    if isinstance(only, str):
        raise UnlogitError(f"only '{only}': must be a list of analyses, such as only=['{only}']")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 2:
        raise UnlogitError(f"limit {limit!r}: must be a whole number of images, 2 or more")
    names = [name.replace("_", "-") for name in only] or analyses.names()
    configs = {name: analyses.get(name).Config() for name in names}
    opened = _open(inverters)
    source = open_images(images) if isinstance(images, str) else images
    features = perceptual_network(opened)
    if features is not None:
        features = features.to(next(iter(opened.values())).representation.shift.device)
    evidence = Evidence(source, opened, limit=limit, features=features, seed=seed)
    command = f"unlogit.analyse({list(opened)}, {source.spec!r}, only={list(only)}, limit={limit}, seed={seed})"
    title = f"What {', '.join(opened)} kept"
    (part,) = write_report(out, title, {source.spec: evidence}, configs={source.spec: configs}, command=command)
    source.broken.warn()
    return part


def _open(inverters: AnyInverters) -> dict[str, Inverter]:
    """Return inverters by the names that they are shown under."""
    if isinstance(inverters, Mapping):
        named = list(inverters.items())
    else:
        each = [inverters] if isinstance(inverters, Inverter | str) else list(inverters)
        named = [called(one) if isinstance(one, str) else (one.name, one) for one in each]
    if not named:
        raise UnlogitError("inverters: none given, must be at least one, such as 'efficientnet_lite0'")
    if len({name for name, _ in named}) < len(named):
        raise UnlogitError(
            f"two inverters of the same name ({', '.join(n for n, _ in named)}): give a mapping of names"
        )
    return {name: open_inverter(one) if isinstance(one, str) else one for name, one in named}
