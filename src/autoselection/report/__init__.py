"""Reports of a study, a pool and a selection: data first, from which terminal, Markdown, JSON and HTML are made."""

from autoselection.report.comparison_page import write_comparison_page
from autoselection.report.compute_page import write_compute_page
from autoselection.report.estimate import print_estimate
from autoselection.report.evaluation import print_checks, print_evaluation
from autoselection.report.mixture import print_mixture
from autoselection.report.paper_page import write_paper_page
from autoselection.report.pool import print_pool_stats
from autoselection.report.pool_page import write_pool_page
from autoselection.report.rows import print_difference, print_dropped, print_explanations, print_rows
from autoselection.report.selection import print_scores, print_selection
from autoselection.report.selection_page import write_selection_page
from autoselection.report.selection_view import view_selection
from autoselection.report.study_report import study_markdown, write_report
from autoselection.report.study_view import view_study
from autoselection.report.tables import print_diagnosis, print_study
from autoselection.report.transfer import print_transfer

__all__ = [
    "print_checks",
    "print_diagnosis",
    "print_difference",
    "print_dropped",
    "print_estimate",
    "print_evaluation",
    "print_explanations",
    "print_mixture",
    "print_pool_stats",
    "print_rows",
    "print_scores",
    "print_selection",
    "print_study",
    "print_transfer",
    "study_markdown",
    "view_selection",
    "view_study",
    "write_comparison_page",
    "write_compute_page",
    "write_paper_page",
    "write_pool_page",
    "write_report",
    "write_selection_page",
]
