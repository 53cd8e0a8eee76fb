"""What is written into a study's folder: ``report.md`` and ``report.html``, both from the same view of it."""

from __future__ import annotations

from pathlib import Path

from autoselection import files
from autoselection.diagnose import MIN_TRIALS
from autoselection.markup import bullets, inline
from autoselection.report.study_page import write_study_page
from autoselection.report.study_view import StudyView, view_study
from autoselection.report.tables import agreement_sheet, diagnosis_sheet
from autoselection.study import Study

MARKDOWN, PAGE = "report.md", "report.html"


def study_markdown(study: Study) -> str:
    """A study as a Markdown document."""
    return view_markdown(view_study(study))


def view_markdown(view: StudyView) -> str:
    """The answer, the tables and the notes; with enough trials the diagnosis of the proxies."""
    parts = [f"# {inline(view.name)}", ""]
    if view.answer.trial is not None:
        parts += ["## Answer", "", *bullets(view.answer.sentences()), ""]
    diagnosis = view.diagnosis
    diagnosed = diagnosis.trials >= MIN_TRIALS
    for sheet in (*view.sheets.values(), *([diagnosis_sheet(diagnosis)] if diagnosed else ())):
        parts += [f"## {inline(sheet.title)}", "", *sheet.markdown(), ""]
    if diagnosed:
        parts += [*bullets((*diagnosis.findings(), *diagnosis.notes)), ""]
    if diagnosed and diagnosis.agreements:
        sheet = agreement_sheet(diagnosis.agreements)
        parts += [f"## {inline(sheet.title)}", "", *sheet.markdown(), "", *bullets(diagnosis.right_answers()), ""]
    if view.notes:
        parts += ["## Notes", "", *bullets(view.notes), ""]
    return "\n".join(parts)


def write_report(study: Study, *, price: float | None = None) -> StudyView:
    """Write ``report.md`` and ``report.html`` into the study's folder.

    Args:
        price: of an hour of the machine, in any currency.

    Returns:
        What they were made from.
    """
    view = view_study(study, price=price)
    files.write_text(study.path / MARKDOWN, view_markdown(view))
    write_study_page(view, study.path / PAGE)
    return view


def page_of(study: Study) -> Path:
    """Where a study's page is written."""
    return study.path / PAGE
