"""Paired comparisons of inverters: the same images, one test per measure and pair, corrected as one family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from torch import Tensor

from unlogit.analyses._base import Cell, Column, Finding, Record, Result, Table
from unlogit.analyses._fidelity import MetricInfo
from unlogit.statistics import ALPHA, Difference, Estimate, correct_family, paired_tests

Tests = Mapping[tuple[str, str, str], Difference]
"""Tests of the first inverter less the second, by both inverters and the name of the measure, not yet corrected."""
FAMILY = (
    "p-values are two-sided and corrected for all tests of the table (Holm); intervals are not corrected. The verdict "
    f"is by the corrected p at a level of {ALPHA:g}"
)
LEGIBLE = 6
"""Maximum number of measures in a sentence; of more, only the significant ones are named."""
EQUIVALENCE = (
    "; equivalent means that two one-sided tests reject a difference as large as the margin, chosen beforehand"
)


def pair_tests(
    metrics: Sequence[MetricInfo], values: Mapping[str, Mapping[str, Tensor]], seed: int
) -> dict[tuple[str, str, str], Difference]:
    """Test every pair of inverters on every measure that both have.

    Args:
        metrics: the measures.
        values: by inverter, by name of the measure, one value per image, N; the same images for all inverters.
        seed: random seed of the resampling.
    """
    differences = {
        (a, b, m.name): values[a][m.name].double() - values[b][m.name].double()
        for a, b in combinations(values, 2)
        for m in metrics
        if m.name in values[a] and m.name in values[b]
    }
    return paired_tests(differences, seed)


def report_pairs(
    metrics: Sequence[MetricInfo], tests: Tests, what: str, name: str = "pairs", by: str = ""
) -> Iterator[Result]:
    """Correct tests of pairs of inverters as one family and yield their table, records and a sentence per pair.

    Args:
        metrics: the measures, in the order shown.
        tests: tests as `pair_tests` returns them; without any, nothing is yielded.
        what: first sentence of the caption, which states what was measured, and on how many images.
        name: name of the table, unique in its analysis.
        by: " by NETWORK" where an analysis compares inverters by several networks.
    """
    if not tests:
        return
    corrected = correct_family(tests)
    rows: list[tuple[Cell, ...]] = []
    sentences = []
    for a, b in dict.fromkeys((a, b) for a, b, _ in tests):
        pairs = [(m, corrected[a, b, m.name]) for m in metrics if (a, b, m.name) in corrected]
        rows += [(f"{a} − {b}", m.title, d.estimate, format_p(d.p), d.verdict) for m, d in pairs]
        for m, d in pairs:
            yield Record(f"{m.name}_less_{b}", a, d.estimate, m.unit, None)
        sentences.append(f"{a} less {b}{by}, paired: {_described(pairs)}.")
    columns = (
        Column("inverters"),
        Column("measure"),
        Column("difference", None, "mean over the same images, with its 95 % CI"),
        Column("p (Holm)"),
        Column("verdict"),
    )
    yield Table(name, f"Inverters compared on the same images{by}", f"{what} {FAMILY}.", columns, tuple(rows))
    for text in sentences:
        yield Finding(text)


def _described(pairs: list[tuple[MetricInfo, Difference]]) -> str:
    """Return all differences in words, or if there are many, the significant ones and the number of the others."""
    shown = [(m, d) for m, d in pairs if len(pairs) <= LEGIBLE or d.significant]
    parts = [f"{m.title} {format_difference(d)}" for m, d in shown]
    if len(shown) < len(pairs):
        parts.append(f"not significant in {len(pairs) - len(shown)} of {len(pairs)} measures")
    return "; ".join(parts)


def format_difference(d: Difference) -> str:
    """Return a difference as '+0.020 (95 % CI +0.002 to +0.038, p = 0.012): differs significantly'."""
    e = d.estimate
    # Two digits of the interval's width, which for measures of small values takes more than three decimals.
    decimals = next((n for n in range(2, 6) if e.high - e.low > 10.0**-n), 3)
    return f"{format_signed(e, decimals + 1, f', p {_relation(d.p)}')}: {d.verdict}"


def format_signed(e: Estimate, places: int = 3, more: str = "", unit: str = "") -> str:
    """Return an estimate with signs, as '+0.020 (95 % CI +0.002 to +0.038)'; `more` is appended in the brackets."""
    value, low, high = (f"{v:+.{places}f}".replace("-", "−") for v in (e.value, e.low, e.high))
    return f"{value}{unit} (95 % CI {low} to {high}{more})"


def format_share(e: Estimate, more: str = "") -> str:
    """Return a share as '78.2 % (95 % CI 75.5 to 80.6)'; `more` is appended in the brackets."""
    return f"{100 * e.value:.1f} % (95 % CI {100 * e.low:.1f} to {100 * e.high:.1f}{more})"


def format_p(p: float) -> str:
    """Return a p-value as a table shows it: three decimals, or '< 0.001'."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _relation(p: float) -> str:
    return format_p(p) if p < 0.001 else f"= {format_p(p)}"
