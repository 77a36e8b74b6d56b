"""From evidence to one self-contained HTML page, with its figures, tables and numbers beside it."""

from unlogit.report.page import write_report
from unlogit.report.sections import Part, Section, gather, summary

__all__ = ["Part", "Section", "gather", "summary", "write_report"]
