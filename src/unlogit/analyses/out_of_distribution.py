"""Figure 10 of the paper: reconstructions of images out of distribution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Record, Result, Table
from unlogit.analyses._fidelity import (
    PERCEPTUAL,
    SHORT,
    ReferenceStatistics,
    common_metrics,
    difference,
    fidelity,
    over,
    verdict,
)
from unlogit.analyses._paired import FAMILY, pair_tests, report_pairs
from unlogit.drawing import INK, Block, sheet, style
from unlogit.settings import Count, Several
from unlogit.statistics import correct_family

TITLE = "Out of distribution"
QUESTION = "How faithful are reconstructions of images that are out of distribution?"


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """Numbers of images of each other kind."""

    num_images: Several = 256
    """Number of images measured per kind."""
    shown: Count = 6
    """Number of images shown per kind."""


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yield for each of the evidence's `others` images, the gap to the usual images, and the inverters compared.

    The gap is the loss of an inverter out of distribution; the comparison is between inverters there.
    """
    usual = {name: fidelity(evidence, name) for name in evidence.inverters} if evidence.others else {}
    metrics = tuple(dict.fromkeys((*SHORT, *common_metrics(evidence))))
    for index, (kind, source) in enumerate(evidence.others.items()):
        other = Evidence(
            source, evidence.inverters, limit=config.num_images, features=evidence.features, seed=evidence.seed
        )
        which = other.sample(config.shown, evidence.seed)
        reconstructed = {name: other.reconstructed(name) for name in other.inverters}
        columns = {"original": other.originals.bytes[which]}
        columns |= {name: m.images.bytes[which] for name, m in reconstructed.items()}
        block = Block(kind, INK, tuple(columns), torch.stack(list(columns.values()), 1))
        caption = f"{len(which)} of {len(other):,} images of {source.spec}, drawn at random and not chosen."
        with style():
            yield Figure(f"images-{index}", kind, caption, sheet([block]))
        values = {
            name: ReferenceStatistics.of(evidence, name)(other.originals, reconstructed[name])
            for name in other.inverters
        }
        tests = correct_family(
            {
                (name, m.name): difference(each[m.name], usual[name][m.name], evidence.seed)
                for name, each in values.items()
                for m in SHORT
            }
        )
        rows: list[tuple[Cell, ...]] = []
        for name, each in values.items():
            gaps = {m.name: tests[name, m.name] for m in SHORT}
            values_here = [m.estimate(each[m.name], evidence.seed) for m in SHORT]
            estimates = [gap.estimate for gap in gaps.values()]
            rows.append((name, *(cell for pair in zip(values_here, estimates, strict=True) for cell in pair)))
            for m in SHORT:
                yield Record(f"gap_{m.name}_{kind}", name, gaps[m.name].estimate, m.unit, m.better)
            yield Finding(f"{name} on {kind}, against {evidence.source.spec}: {verdict(SHORT, gaps)}.")
        heads = [Column("inverter")]
        for m in SHORT:
            heads += [m.column, Column("gap", m.better, f"that less the same on {evidence.source.spec}")]
        caption = (
            f"{len(other):,} images of {source.spec} against {len(evidence):,} of {evidence.source.spec}, with 95 % "
            f"bootstrap CIs over both. Logits and layouts are measured from the usual images' mean. {FAMILY}."
        )
        yield Table(f"gap-{index}", f"{kind}: change of fidelity", caption, tuple(heads), tuple(rows))
        if other.independent is not None:
            for name, each in values.items():
                each[PERCEPTUAL.name] = over(other.originals, reconstructed[name].images)(other.independent.distance)
        yield from report_pairs(
            [m.named(f"{m.name}_{kind}", f"{m.title}, {kind}") for m in metrics],
            {(a, b, f"{m}_{kind}"): test for (a, b, m), test in pair_tests(metrics, values, evidence.seed).items()},
            f"The first inverter less the second on the same {len(other):,} images of {source.spec}; same class and "
            "logit cosine are by each inverter's own classifier.",
            f"pairs-{index}",
        )
