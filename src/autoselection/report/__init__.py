"""Reports of a study: tables in the terminal and as Markdown."""

from autoselection.report.tables import print_study, study_markdown, write_report

__all__ = ["print_study", "study_markdown", "write_report"]
