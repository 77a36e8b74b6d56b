"""Analyses of inverters: one file each, with a frozen `Config` and `run(config, evidence)`."""

from typing import TYPE_CHECKING

from unlogit.analyses._base import (
    Analysis,
    AnalysisConfig,
    Cell,
    Column,
    Figure,
    Finding,
    Record,
    Result,
    Table,
    get,
    names,
)
from unlogit.lazy import exports

if TYPE_CHECKING:
    from unlogit.analyses._evidence import Encoded, Evidence, Images, Reconstructed, perceptual_network
    from unlogit.analyses._format import as_csv, format_estimate, format_records
    from unlogit.analyses._results import AnalysisResult, Results, analyse, run_analysis

# What needs torch or matplotlib is imported at first use.
__getattr__ = exports(
    __name__,
    {
        **dict.fromkeys(("Encoded", "Evidence", "Images", "Reconstructed", "perceptual_network"), "_evidence"),
        **dict.fromkeys(("as_csv", "format_estimate", "format_records"), "_format"),
        **dict.fromkeys(("AnalysisResult", "Results", "analyse", "run_analysis"), "_results"),
    },
)

__all__ = [
    "Analysis",
    "AnalysisConfig",
    "AnalysisResult",
    "Cell",
    "Column",
    "Encoded",
    "Evidence",
    "Figure",
    "Finding",
    "Images",
    "Reconstructed",
    "Record",
    "Result",
    "Results",
    "Table",
    "analyse",
    "as_csv",
    "format_estimate",
    "format_records",
    "get",
    "names",
    "perceptual_network",
    "run_analysis",
]
