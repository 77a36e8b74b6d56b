"""Reports: from evidence to one self-contained HTML page, with figures, tables and numbers beside it."""

from typing import TYPE_CHECKING

from unlogit.lazy import exports

if TYPE_CHECKING:
    from unlogit.report.page import RESULTS, headline, write_report
    from unlogit.report.results import ReportImage, Section
    from unlogit.report.sections import Part, gather, summary

__all__ = ["RESULTS", "Part", "ReportImage", "Section", "gather", "headline", "summary", "write_report"]

__getattr__ = exports(
    __name__,
    {
        **dict.fromkeys(("RESULTS", "headline", "write_report"), "page"),
        **dict.fromkeys(("ReportImage", "Section"), "results"),
        **dict.fromkeys(("Part", "gather", "summary"), "sections"),
    },
)
