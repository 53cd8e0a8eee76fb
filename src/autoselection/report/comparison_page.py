"""The page of a comparison of search methods."""

from __future__ import annotations

import math
from pathlib import Path

from autoselection.compare import Comparison
from autoselection.compare.outputs import headings, meaning, rows, warning
from autoselection.report.figures import Interval, Series, intervals, lines, points
from autoselection.report.page import Figure, Page, Part, Section, Sentences, write_page
from autoselection.report.sheet import Sheet


def write_comparison_page(comparison: Comparison, path: Path) -> Path:
    """Write a comparison as an HTML page."""
    return write_page(comparison_page(comparison), path)


def comparison_page(comparison: Comparison) -> Page:
    """The page of a comparison: who did how well, and on the way there."""
    first: list[Part] = [Sheet.of("Methods", headings(comparison), rows(comparison))]
    if said := warning(comparison):
        first.insert(0, Sentences((said,)))
    if any(method.difference is not None for method in comparison.methods):
        first.insert(0, difference_figure(comparison))
    remarks = tuple(said for said in (meaning(comparison), *comparison.remarks) if said)
    first.append(Sentences(remarks, listed=True))
    curves: list[Part] = [curve_figure(comparison)]
    if any(len(method.runs) > 1 for method in comparison.methods):
        curves.append(run_figure(comparison))
    title = f"{comparison.name}: methods after {comparison.budget} evaluations"
    return Page(title, (Section("Methods", tuple(first)), Section("Best so far", tuple(curves))))


def difference_figure(comparison: Comparison) -> Figure:
    """Test score of each method minus the reference's."""
    shown = [
        Interval(method.method, found.value, found.low, found.high)
        for method in comparison.methods
        if (found := method.difference) is not None
    ]
    told = f"Test score of each method minus that of {comparison.reference}, and 95% interval, each by itself."
    x = f"test score minus that of {comparison.reference}"
    return intervals("Differences on test", told, shown, x=x, headings=("method", "95% alone"))


def curve_figure(comparison: Comparison) -> Figure:
    """Mean dev score of the incumbents after each evaluation."""
    series = []
    for method in comparison.methods:
        curve = [None if math.isnan(value) else value for value in method.curve[: comparison.budget]]
        series.append(Series(method.method, list(range(1, len(curve) + 1)), curve))
    told = "Dev score of the best subset after each evaluation, mean over seeds: the best of noisy scores, so biased upward."
    return lines(
        "Best so far", told, series, x="evaluations", y="dev score of the incumbent", steps=True, markers=False
    )


def run_figure(comparison: Comparison) -> Figure:
    """What each seed ended with."""
    series = [
        Series(
            method.method,
            [float(run.rows) for run in scored],
            [run.best_dev for run in scored],
            words=[f"{method.method}, seed {run.seed}" for run in scored],
        )
        for method in comparison.methods
        if (scored := [run for run in method.runs if not math.isnan(run.best_dev)])
    ]
    return points(
        "Every seed",
        "Rows and dev score of what each method chose with each seed.",
        series,
        x="rows",
        y="best dev score",
    )
