"""Questions to inverters: one file each, with a frozen `Config` and `run(config, evidence)`."""

from unlogit.analyses._base import (
    Analysis,
    AnalysisConfig,
    Cell,
    Column,
    Figure,
    Finding,
    Number,
    Result,
    Table,
    get,
    names,
)
from unlogit.analyses._evidence import Encoded, Evidence, Pictures, Reconstructed, ruler

__all__ = [
    "Analysis",
    "AnalysisConfig",
    "Cell",
    "Column",
    "Encoded",
    "Evidence",
    "Figure",
    "Finding",
    "Number",
    "Pictures",
    "Reconstructed",
    "Result",
    "Table",
    "get",
    "names",
    "ruler",
]
