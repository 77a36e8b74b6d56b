"""From evidence to one self-contained HTML page, with its figures, tables and numbers beside it."""

from unlogit.report.page import RESULTS, write_report
from unlogit.report.results import Picture, Section
from unlogit.report.sections import Part, gather, summary

__all__ = ["RESULTS", "Part", "Picture", "Section", "gather", "summary", "write_report"]
