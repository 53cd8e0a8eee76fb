"""The page of a reproduction: the paper's tables, and the differences in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoselection.report.figures import Interval, intervals
from autoselection.report.page import Figure, Page, Part, Section, Sentences, write_page
from autoselection.report.sheet import Sheet
from autoselection.reproduce import paper_sheet

_SUBSETS = {"all": "all subsets", "fixed": "chosen by no search"}


def write_paper_page(document: Mapping[str, Any], path: Path) -> Path:
    """Write the document of ``paper.json`` as an HTML page."""
    return write_page(paper_page(document), path)


def paper_page(document: Mapping[str, Any]) -> Page:
    """The page of a reproduction."""
    config = document["config"]
    lead = f"{len(config['seeds'])} replicate(s), {config['budget']} evaluations a search."
    sections = [section for model in document["models"] for section in _sections(model)]
    return Page(f"{document['name']}: the paper's tables", tuple(sections), lead)


def _sections(model: Mapping[str, Any]) -> list[Section]:
    missing = (Sentences(tuple(model["missing"]), listed=True),) if model["missing"] else ()
    sections = []
    for found in model["tables"]:
        parts: list[Part] = []
        if found["metric"] == "score" and any(row["autoselection_minus"] for row in found["rows"]):
            parts.append(difference_figure(found))
        title, headings, rows = paper_sheet(found)
        parts += [Sheet.of(title, headings, rows, numbers=True), Sentences(tuple(found["planning"]), listed=True)]
        sections.append(Section(f"{model['name']}: {found['title']} ({found['metric']})", (*missing, *parts)))
        missing = ()
    if missing:
        sections.append(Section(model["name"], missing))
    if figure := correlation_figure(model["correlation"]):
        sections.append(Section(f"{model['name']}: dev against test", (figure,)))
    return sections


def difference_figure(found: Mapping[str, Any]) -> Figure:
    """AutoSelection minus every other row of a table."""
    shown = []
    for row in found["rows"]:
        versus = row["autoselection_minus"]
        if versus:
            interval = versus["difference"]
            low, high = versus["interval_seeds"] or (interval["low"], interval["high"])
            shown.append(Interval(row["method"], interval["estimate"], low, high))
    told = "AutoSelection minus each row, with its 95% interval by itself: right of 0 AutoSelection is better."
    return intervals("Differences", told, shown, x="AutoSelection minus it", headings=("method", "95% alone"))


def correlation_figure(groups: Mapping[str, Any]) -> Figure | None:
    """Rank correlations of dev with test; None where there are too few subsets."""
    shown = []
    for group, found in groups.items():
        for task, one in (("average", found["average"]), *found["tasks"].items()):
            if one["spearman"]:
                low, high = one["spearman"]["ci95"]
                kind = _SUBSETS[group]
                shown.append(Interval(f"{task}, {kind}", one["spearman"]["value"], low, high, kind))
    told = "Rank correlation of mean dev and mean test score over subsets, with its 95% interval."
    return (
        intervals("Dev against test", told, shown, x="Spearman", headings=("task", "95% interval")) if shown else None
    )
