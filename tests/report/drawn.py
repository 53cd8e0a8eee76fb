"""What is drawn on a page."""

from __future__ import annotations

from collections.abc import Iterator

from autoselection.report.page import Choice, Figure, Page


def figures_of(page: Page) -> Iterator[Figure]:
    """Every figure of a page, those to choose from too."""
    for section in page.sections:
        for part in section.parts:
            if isinstance(part, Figure):
                yield part
            elif isinstance(part, Choice):
                yield from (figure for _, figure in part.figures)
