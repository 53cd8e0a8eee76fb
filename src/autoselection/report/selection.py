"""What scoring a pool and running a recipe did, as short tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoselection.notebook import number
from autoselection.operators import Rows, default_registry
from autoselection.pool import Pool
from autoselection.recipes import Materialization, Recipe, Step, state_vector
from autoselection.recipes.state import shown_numbers
from autoselection.report.selection_view import excluded_said
from autoselection.signals import ScoreReport, SignalReport, SignalTable
from autoselection.terminal import Terminal

#: Sources with a row in the table of a subset.
_SHOWN_SOURCES = 20


def print_scores(report: ScoreReport, name: str, console: Terminal, *, verbose: bool = False) -> None:
    """Print what was computed, what was there already, and what could not be computed."""
    headings = ("signal", "state", "rows without a score", "s", *(("key", "counted") if verbose else ()))
    lines = []
    for signal in report.signals:
        cells = [signal.name, _state(signal), _missing(signal), "" if signal.cached else f"{signal.seconds:.1f}"]
        if verbose:
            cells += [signal.key, ", ".join(f"{name} {count:,}" for name, count in signal.stats.items())]
        lines.append(cells)
    console.table(f"Signals of {name}: {report.rows:,} rows, {report.seconds:.1f} s", headings, lines)
    groups: dict[str, list[str]] = {}
    for signal_name, reason in sorted(report.skipped.items()):
        groups.setdefault(reason, []).append(signal_name)
    for reason, names in groups.items():
        console.say(f"Not computed: {', '.join(names)} ({reason}).")


def _state(signal: SignalReport) -> str:
    if signal.cached:
        return "was there"
    copied = f", {signal.inherited:,} copied" if signal.inherited else ""
    resumed = f", {signal.shards_resumed} parts kept from before" if signal.shards_resumed else ""
    damaged = f", {signal.shards_damaged} damaged parts made again" if signal.shards_damaged else ""
    return f"computed{copied}{resumed}{damaged}"


def _missing(signal: SignalReport) -> str:
    counts = {column: count for column, count in signal.missing.items() if count}
    if len(set(counts.values())) == 1 and len(counts) == len(signal.missing):
        return f"{next(iter(counts.values())):,}"
    return ", ".join(f"{column} {count:,}" for column, count in counts.items()) or "0"


def print_selection(
    result: Materialization,
    pool: Pool,
    signals: SignalTable,
    console: Terminal,
    *,
    title: str,
    steps: Sequence[Rows],
    verbose: bool = False,
) -> None:
    """Print what each step did, and how many rows of each source are left; with ``verbose`` also the state vector.

    Args:
        steps: the rows after each step, see :func:`~autoselection.recipes.rows_by_step`.
    """
    lines = []
    for place, (step, done, rows) in enumerate(zip(result.recipe.steps, result.lineage, steps, strict=True), start=1):
        counts = (f"{count:,}" for count in (done.rows_in, done.rows_out, done.dropped, done.missing))
        told = Recipe((step,), library=result.recipe.library).describe()
        lines.append((f"{place}. {told}", *counts, _range(step, rows, signals)))
    headings = ("step", "rows in", "rows out", "dropped", "without score", "scores kept")
    copies = f", {len(result.rows):,} with copies" if len(result.rows) > result.distinct else ""
    console.table(f"{title}: {result.distinct:,} of {len(pool):,} rows{copies}", headings, lines, numbers=True)
    headings = ("source", "rows", "of", "share kept", *(("with copies",) if copies else ()))
    beside = excluded_said(signals.n - len(signals.selectable))
    console.table(f"Rows by source{beside}", headings, _source_lines(result, pool, signals), numbers=True)
    if verbose:
        state = shown_numbers([state_vector(result.rows, signals).to_dict()])[0].items()
        cells = [(name, number(value)) for name, value in state]
        console.table("State vector", None, cells, numbers=True)
        for place, done in enumerate(result.lineage, start=1):
            for note, value in done.notes.items():
                console.say(f"- step {place}: {note}: {value}")
        console.say(f"subset {result.subset_hash}, in this order {result.ordered_hash}")


def _range(step: Step, rows: Rows, signals: SignalTable) -> str:
    """Lowest and highest score, among the rows kept, of the column that a step cuts by; empty if it cuts by none."""
    column = default_registry().get(step.operator).scored_by(step.params)
    if column is None or column not in signals.columns:
        return ""
    known = signals.columns[column][rows]
    known = known[~np.isnan(known)]
    return f"{number(float(known.min()))} to {number(float(known.max()))}" if len(known) else "none"


def _source_lines(result: Materialization, pool: Pool, signals: SignalTable) -> list[tuple[str, ...]]:
    """Rows of the largest sources, of those that may be selected; with copies, where there are any, in one more column."""
    width = len(pool.source_names)
    kept = np.bincount(pool.source_codes[np.unique(result.rows)], minlength=width)
    trained = np.bincount(pool.source_codes[result.rows], minlength=width)
    totals = np.bincount(pool.source_codes[signals.selectable], minlength=width)
    order = np.argsort(-totals, kind="stable").tolist()
    shown = 5 if trained.sum() > kept.sum() else 4
    lines: list[tuple[str, ...]] = [
        (
            pool.source_names[code],
            f"{kept[code]:,}",
            f"{totals[code]:,}",
            f"{kept[code] / max(1, totals[code]):.1%}",
            f"{trained[code]:,}",
        )[:shown]
        for code in order[:_SHOWN_SOURCES]
    ]
    more = len(order) - _SHOWN_SOURCES
    return [*lines, (f"… {more:,} more (see --json)", *[""] * (shown - 1))] if more > 0 else lines
