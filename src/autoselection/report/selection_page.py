"""What a recipe did to a pool, as sections of a page: of a study's best recipe, or of a recipe without any training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoselection.notebook import number
from autoselection.report.figures import Interval, Link, flow, intervals, two_distributions
from autoselection.report.page import Choice, Facts, Figure, Page, Part, Rows, Section, Sentences, write_page
from autoselection.report.selection_view import (
    BINS,
    SHOWN_ROWS,
    Flow,
    SelectionView,
    SignalView,
    StepView,
    excluded_said,
)
from autoselection.report.sheet import Sheet

#: Distributions that are drawn, of the signals that moved most; the table has all.
_DRAWN = 120


def write_selection_page(view: SelectionView, title: str, path: Path) -> Path:
    """Write what a recipe selects from a pool as an HTML page."""
    return write_page(selection_page(view, title), path)


def selection_page(view: SelectionView, title: str) -> Page:
    """The page of a recipe that was run on a pool, without any training."""
    facts = [
        ("rows", f"{view.rows:,} of {view.pool_rows:,}"),
        ("share kept", f"{view.rows / max(1, view.pool_rows):.1%}"),
        *((("may not be selected", f"{view.excluded:,}"),) if view.excluded else ()),
    ]
    if view.trained != view.rows:
        facts.append(("with copies", f"{view.trained:,}"))
    if view.tokens is not None:
        facts.append(("tokens", f"{view.tokens[0]:,.0f} of {view.tokens[1]:,.0f}"))
    facts.append(("hash of the rows", view.subset_hash))
    first = Section(
        "The recipe",
        (
            Sentences(tuple(step.told for step in view.steps) or ("The whole pool.",), listed=True),
            Facts(tuple(facts)),
            *_remarks(view),
        ),
    )
    return Page(title, (first, *selection_sections(view)), f"{view.rows:,} of {view.pool_rows:,} rows are selected.")


def _remarks(view: SelectionView) -> tuple[Part, ...]:
    return (Sentences(view.remarks, listed=True),) if view.remarks else ()


def selection_sections(view: SelectionView) -> tuple[Section, ...]:
    """From pool to subset, what each step kept and dropped, signals kept against dropped, the state vector."""
    sections = [Section("From pool to subset", (*_flow_parts(view.flow), source_sheet(view.flow, view.excluded)))]
    if view.steps:
        lead = f"Up to {SHOWN_ROWS} rows of each kind, drawn by chance, always the same ones."
        parts = [part for step in view.steps for part in _step_parts(step)]
        sections.append(Section("What each step kept and dropped", (step_sheet(view.steps), *parts), lead))
    if view.signals:
        sections.append(_signal_section(view.signals))
    sections.append(
        Section(
            "State vector",
            (state_sheet(view),),
            "What the search knows of a subset. score_… is its relevance to the tasks (MONA); mean_ifd and mean_varentropy are the mean "
            "of the signal over that of the pool, at most 2, and halved: 0.5 is like the pool.",
        )
    )
    return tuple(sections)


def _flow_parts(found: Flow) -> tuple[Part, ...]:
    if not found.steps:
        return (Sentences(("The recipe has no steps: it selects the whole pool.",)),)
    return (flow_figure(found),)


def flow_figure(found: Flow) -> Figure:
    """Rows of each source through the steps, as a Sankey diagram."""
    links = []
    ends = [f"{number} {_operator(told)}" for number, told in enumerate(found.steps, 1)]
    ends[-1] = f"subset, after {ends[-1]}"
    inside = found.start
    for place, name in enumerate(ends):
        for source, label in enumerate(found.sources):
            start = label if place == 0 else ends[place - 1]
            for rows, begin, end in (
                (found.kept[place, source], start, name),
                (found.dropped[place, source], start, f"dropped by {place + 1}"),
                (found.back[place, source], f"brought back by {place + 1}", name),
            ):
                if rows:
                    links.append(Link(begin, end, int(rows), label))
        inside = found.kept[place] + found.back[place]
    told = f"From left to right: {int(found.start.sum()):,} rows by source, what each step keeps and drops, {int(inside.sum()):,} rows of the subset."
    return flow("Rows by source through the steps", told, links, height=360 + 30 * len(found.sources))


def _operator(told: str) -> str:
    return told.partition("(")[0]


def source_sheet(found: Flow, excluded: int = 0) -> Sheet:
    """Rows of each source before and after.

    Args:
        excluded: rows that no recipe may select (count).
    """
    rows = [
        (name, f"{after:,}", f"{before:,}", f"{after / max(1, before):.1%}")
        for name, before, after in zip(found.sources, found.start.tolist(), found.end.tolist(), strict=True)
    ]
    return Sheet.of(
        f"Rows by source{excluded_said(excluded)}", ("source", "rows", "of", "share kept"), rows, numbers=True
    )


def step_sheet(steps: Sequence[StepView]) -> Sheet:
    """What each step did, in numbers."""
    rows = [
        (
            f"{step.number}. {step.told}",
            *(f"{count:,}" for count in (step.rows_in, step.rows_out, step.dropped, step.missing)),
            "" if step.scores is None else f"{step.column}: {number(step.scores[0])} to {number(step.scores[1])}",
        )
        for step in steps
    ]
    return Sheet.of(
        "Steps", ("step", "rows in", "rows out", "dropped", "without score", "scores kept"), rows, numbers=True
    )


def _step_parts(step: StepView) -> tuple[Part, ...]:
    counted = f"{step.rows_out:,} rows after it, {step.dropped:,} dropped by it."
    return (Rows(f"Step {step.number}: {step.told}", step.rows, counted),) if step.rows else ()


def _signal_section(signals: Sequence[SignalView]) -> Section:
    drawn = [signal for signal in signals if len(signal.edges)]
    shifted = sorted(
        (signal for signal in drawn if signal.shift is not None), key=lambda signal: -abs(signal.shift or 0.0)
    )
    rows = [
        (
            signal.name,
            number(signal.mean_kept),
            number(signal.mean_dropped),
            "" if signal.shift is None else f"{signal.shift:+.2f}",
            f"{signal.missing_kept:,}",
            f"{signal.missing_dropped:,}",
        )
        for signal in signals
    ]
    headings = ("signal", "mean, kept", "mean, dropped", "shift", "without, kept", "without, dropped")
    parts: list[Part] = []
    if shifted:
        parts.append(
            intervals(
                "How far each signal moved",
                "Mean of the kept rows minus mean of the dropped ones, in standard deviations of all rows; the largest first.",
                [Interval(signal.name, signal.shift or 0.0) for signal in shifted[:30]],
                x="shift (standard deviations)",
                headings=("signal", ""),
            )
        )
    if drawn:
        order = [*shifted, *(signal for signal in drawn if signal.shift is None)]
        parts.append(Choice("Signal", tuple((signal.name, signal_figure(signal)) for signal in order[:_DRAWN])))
    parts.append(Sheet.of("Signals, kept against dropped", headings, rows, numbers=True))
    return Section("Signals, kept against dropped", tuple(parts))


def signal_figure(signal: SignalView) -> Figure:
    """Distribution of one signal, kept against dropped."""
    told = (
        f"Shares of the kept and of the dropped rows in {BINS} bins; the outermost hold what lies beyond. "
        f"Means: {number(signal.mean_kept) or 'none'} kept, {number(signal.mean_dropped) or 'none'} dropped."
    )
    return two_distributions(
        f"{signal.name}, kept against dropped", told, signal.edges, signal.kept, signal.dropped, x=signal.name
    )


def state_sheet(view: SelectionView) -> Sheet:
    """The state vector."""
    rows = [(name, number(value)) for name, value in view.state.items()]
    return Sheet.of("State vector of the subset", ("field", "value"), rows, numbers=True)
