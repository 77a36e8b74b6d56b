"""Figure 10 of the paper: pictures of another kind through the same classifier and inverter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from unlogit.analyses import AnalysisConfig, Cell, Column, Evidence, Figure, Finding, Number, Result, Table
from unlogit.analyses._fidelity import SHORT, Ruler, difference, fidelity, verdict
from unlogit.analyses._sheet import Block, sheet
from unlogit.analyses._style import INK, style
from unlogit.settings import Count, Several

TITLE = "Out of distribution"
PLACE = 85
QUESTION = "What do classifier and inverter make of images of another kind?"


@dataclass(frozen=True)
class Config(AnalysisConfig):
    """How much of each other kind is looked at."""

    pictures: Several = 256
    shown: Count = 6


def run(config: Config, evidence: Evidence) -> Iterator[Result]:
    """Yields for each of the evidence's `others` pictures, figures of merit and the gap to the usual pictures."""
    usual = {name: fidelity(evidence, name) for name in evidence.inverters} if evidence.others else {}
    for place, (kind, source) in enumerate(evidence.others.items()):
        other = Evidence(source, evidence.inverters, limit=config.pictures, seed=evidence.seed)
        which = other.sample(config.shown, evidence.seed)
        made = {name: other.reconstructed(name) for name in other.inverters}
        columns = {"original": other.originals.bytes[which]}
        columns |= {name: m.pictures.bytes[which] for name, m in made.items()}
        block = Block(kind, INK, tuple(columns), torch.stack(list(columns.values()), 1))
        caption = f"{len(which)} of {len(other):,} pictures of {source.spec}, drawn at random and not chosen."
        with style():
            yield Figure(f"pictures-{place}", kind, caption, sheet([block]))
        rows: list[tuple[Cell, ...]] = []
        for name in other.inverters:
            values = Ruler.of(evidence, name)(other.originals, made[name])
            found = [m.estimate(values[m.name], evidence.seed) for m in SHORT]
            gaps = [difference(values[m.name], usual[name][m.name], evidence.seed) for m in SHORT]
            rows.append((name, *(cell for pair in zip(found, gaps, strict=True) for cell in pair)))
            for m, gap in zip(SHORT, gaps, strict=True):
                yield Number(f"gap_{m.name}_{kind}", name, gap, m.unit, m.better)
            yield Finding(f"{name} on {kind}, against {evidence.source.spec}: {verdict(SHORT, gaps)}.")
        heads = [Column("inverter")]
        for m in SHORT:
            heads += [m.column, Column("gap", m.better, f"that less the same on {evidence.source.spec}")]
        caption = (
            f"{len(other):,} pictures of {source.spec} against {len(evidence):,} of {evidence.source.spec}, with 95 % "
            "bootstrap intervals over both. Logits and layouts are measured from the usual pictures' mean."
        )
        yield Table(f"gap-{place}", f"{kind}: how much less survives", caption, tuple(heads), tuple(rows))
