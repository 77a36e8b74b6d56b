"""Linear probes of the representations, without an inverter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from matplotlib.figure import Figure as Drawing
from torch import Tensor

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._factors import Reading
from unlogit.analyses._fidelity import MetricInfo, fidelity
from unlogit.analyses._paired import FAMILY, format_difference, format_p, format_share, pair_tests, report_pairs
from unlogit.analyses._probe import FOLDS, LAYOUT, probe_layout, probe_others, probed_names
from unlogit.drawing import INK, colour, panels, style
from unlogit.outside import figure_text
from unlogit.statistics import Difference, Estimate, bootstrap, correct_family, paired_tests

TITLE = "Linear probe"
QUESTION = "What does a linear map read from the representation itself, with no generator between?"

COSINE = MetricInfo("probe_layout_cosine", "layout cosine of the probe", "higher", "as the inverters' layout cosine")


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Comparison with inverters."""

    inverters: bool = True
    """Compare the layout in the reconstructions of each inverter with the layout that the linear probe reads."""


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield what is read from each representation, representations compared, and inverters beside their probes."""
    if len(evidence) < 4 * FOLDS:
        return
    groups = probed_names(evidence)
    layouts = {name: probe_layout(evidence, name) for name in groups}
    readings = {name: {LAYOUT: layouts[name][0], **probe_others(evidence, name)} for name in groups}
    cosines = {name: cosine for name, (_, cosine) in layouts.items()}
    r2 = {name: {t: reading.explained(evidence.seed) for t, reading in each.items()} for name, each in readings.items()}
    near = {name: bootstrap(values, evidence.seed) for name, values in cosines.items()}
    targets = list(next(iter(r2.values())))
    measured = _caption(evidence)
    with style():
        yield Figure("probe", "What a linear map reads", measured, _draw(evidence, r2, targets))
    columns = (
        Column("representation of", None, "the classifier and layer that this inverter reads"),
        Column(COSINE.title, "higher", COSINE.explanation),
        *(Column(f"R2, {_words(t)}", "higher") for t in targets),
    )
    rows: list[tuple[Cell, ...]] = [(name, near[name], *each.values()) for name, each in r2.items()]
    yield Table("probe", "What a linear map reads", measured, columns, tuple(rows))
    for name, each in r2.items():
        yield Record(COSINE.name, name, near[name], "", "higher")
        for target, estimate in each.items():
            yield Record(f"probe_r2_{target}", name, estimate, "share", "higher")
        e, cosine = each[LAYOUT], near[name]
        yield Finding(
            f"{name}: a linear probe of its representation explains {format_share(e)} of the variance of layouts. Its "
            f"layout cosine is {cosine.value:.3f} (95 % CI {cosine.low:.3f} to {cosine.high:.3f})."
        )
    yield from _compare(evidence, readings, cosines, targets)
    if config.inverters:
        yield from _beside(evidence, groups, cosines)


def _caption(evidence: Evidence) -> str:
    training = evidence.training_images
    fitted = (
        f"fitted on the other {FOLDS - 1} of {FOLDS} folds of the held-out images"
        if training is None
        else f"fitted on {len(training):,} training images"
    )
    return (
        f"Ridge regression from the representation, {fitted}, its penalty by generalised cross-validation; "
        f"{len(evidence):,} held-out images with 95 % bootstrap CIs. R2: 1 for all of the variance, 0 for no more than "
        "the mean. Layout: the colours of 4 x 4 areas; colours: mean and standard deviation of each channel; factors "
        "of scenes, where they show, by cross-fitting."
    )


def _compare(
    evidence: Evidence, readings: dict[str, dict[str, Reading]], cosines: dict[str, Tensor], targets: list[str]
) -> Iterator[Result]:
    """Yield the representations compared on the same images."""
    metrics = [COSINE, *(MetricInfo(f"probe_r2_{t}", f"R2, {_words(t)}", "higher", "", unit="share") for t in targets)]
    tests: dict[tuple[str, str, str], Difference] = dict(
        pair_tests([COSINE], {name: {COSINE.name: values} for name, values in cosines.items()}, evidence.seed)
    )
    for a, b in combinations(readings, 2):
        for t in targets:
            tests[a, b, f"probe_r2_{t}"] = readings[a][t].explained_more(readings[b][t], evidence.seed)
    what = f"Probes of the first representation less those of the second, on the same {len(evidence):,} images."
    yield from report_pairs(metrics, tests, what)


def _beside(evidence: Evidence, groups: dict[str, list[str]], cosines: dict[str, Tensor]) -> Iterator[Result]:
    """Yield each inverter's layout cosine beside that of the probe of what it reads."""
    first = {name: of for of, names in groups.items() for name in names}
    values = {name: fidelity(evidence, name)["layout_cosine"] for name in evidence.inverters}
    differences = {name: values[name].double() - cosines[first[name]].double() for name in values}
    tests = correct_family(paired_tests(differences, evidence.seed))
    rows: list[tuple[Cell, ...]] = []
    for name, d in tests.items():
        own, probe = (bootstrap(v, evidence.seed) for v in (values[name], cosines[first[name]]))
        rows.append((name, own, probe, d.estimate, format_p(d.p), d.verdict))
        yield Record("layout_less_probe", name, d.estimate, "", None)
        yield Finding(
            f"{name}: its layout cosine less that of a linear probe of what it reads is {format_difference(d)}."
        )
    columns = (
        Column("inverter"),
        Column("layout cosine of the inverter", "higher"),
        Column("of the linear probe", "higher", "the baseline: what is in the representation without a generator"),
        Column("difference", None, "inverter less probe, paired over images"),
        Column("p (Holm)"),
        Column("verdict"),
    )
    caption = f"The same {len(evidence):,} images, with 95 % bootstrap CIs. {FAMILY}."
    yield Table("beside", "Inverters beside the probe of what they read", caption, columns, tuple(rows))


def _words(target: str) -> str:
    return target.replace("_", " ")


def _draw(evidence: Evidence, r2: dict[str, dict[str, Estimate]], targets: list[str]) -> Drawing:
    names = list(evidence.inverters)
    figure, (axis,) = panels(1, 1, 0.7 + len(targets) * (0.14 + 0.11 * len(r2)))
    for index, (name, each) in enumerate(r2.items()):
        ink = colour(names.index(name))
        for row, target in enumerate(targets):
            e = each[target]
            y = row + (index - (len(r2) - 1) / 2) * 0.7 / len(r2)
            low, high, value = (max(v, -0.1) for v in (e.low, e.high, e.value))
            axis.plot([low, high], [y, y], color=ink, linewidth=2.2, solid_capstyle="round")
            axis.plot(value, y, "o", color=ink, markersize=4.5, label="" if row else figure_text(name))
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set(xlim=(-0.1, 1.02), ylim=(len(targets) - 0.5, -0.5))
    axis.set_yticks(range(len(targets)), [_words(t) for t in targets])
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("R2 of a linear probe")
    if len(r2) > 1:
        figure.legend(*axis.get_legend_handles_labels(), loc="outside upper left", ncols=min(len(r2), 5))
    return figure
