"""What a recipe did to a pool, as data: the flow of rows by source and step, rows to read, signals kept against dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from autoselection.conversation import turn_text
from autoselection.notebook import number
from autoselection.operators import Judgement, Rows, default_registry
from autoselection.pool import Pool, Subset
from autoselection.recipes import Materialization, PrefixCache, Recipe, lineage_remarks, state_vector, why
from autoselection.recipes.state import shown_numbers
from autoselection.report.page import RowText
from autoselection.signals import SignalTable
from autoselection.signals.families.traces import TOOL_NAMES

#: Rows of each kind that a step is shown with, sources told apart, bins of a distribution (counts).
SHOWN_ROWS, SHOWN_SOURCES, BINS = 20, 9, 30
#: Longest text of a row, and of all rows of a page together (characters).
ROW_TEXT, ALL_TEXT = 3_000, 600_000
#: A distribution is drawn between these quantiles; what lies beyond is in its first and last bin.
_ENDS = (0.005, 0.995)

KEPT, DROPPED, BACK = "kept", "dropped", "brought back"


@dataclass(frozen=True)
class StepView:
    """What one step did.

    Attributes:
        number: from 1.
        told: the step in words.
        rows_in, rows_out, dropped, missing: rows given, returned, given and not returned, without the score (counts).
        column: whose scores decide which rows stay; None if none does.
        scores: lowest and highest of these among the rows kept.
        rows: some of the kept and of the dropped ones, drawn by chance.
    """

    number: int
    told: str
    rows_in: int
    rows_out: int
    dropped: int
    missing: int
    column: str | None
    scores: tuple[float, float] | None
    rows: tuple[RowText, ...]


@dataclass(frozen=True, eq=False)
class Flow:
    """Rows of each source through the steps.

    Attributes:
        sources: the largest ones by name, and the others together.
        steps: the steps in words.
        start: rows that could be selected, int64[sources].
        kept, dropped, back: of the rows before each step those that stay, those that go, and those that a set operation brings
            back; int64[steps, sources].
    """

    sources: tuple[str, ...]
    steps: tuple[str, ...]
    start: NDArray[np.int64]
    kept: NDArray[np.int64]
    dropped: NDArray[np.int64]
    back: NDArray[np.int64]

    @property
    def end(self) -> NDArray[np.int64]:
        """Rows of the subset, int64[sources]."""
        return self.kept[-1] + self.back[-1] if len(self.kept) else self.start


@dataclass(frozen=True, eq=False)
class SignalView:
    """One column of signals, kept against dropped.

    Attributes:
        edges: float64[bins + 1] of the bins; empty where all rows have one value.
        kept, dropped: shares of the rows with a value in each bin, float64[bins].
        mean_kept, mean_dropped: None without a value.
        missing_kept, missing_dropped: rows without a value (counts).
        shift: difference of the means in standard deviations of all rows; None without a spread.
    """

    name: str
    edges: NDArray[np.float64]
    kept: NDArray[np.float64]
    dropped: NDArray[np.float64]
    mean_kept: float | None
    mean_dropped: float | None
    missing_kept: int
    missing_dropped: int
    shift: float | None


@dataclass(frozen=True, eq=False)
class SelectionView:
    """A recipe on a pool.

    Attributes:
        rows, pool_rows: distinct rows of the subset and rows of the pool (counts).
        excluded: of the pool's rows those that no recipe may select (count).
        trained: rows of the subset with those that count more than once as often as they count.
        tokens: of the subset and of the pool; None where they were not counted.
        state: the state vector, by name.
        remarks: sentences that warn of a step.
    """

    recipe: str
    rows: int
    pool_rows: int
    excluded: int
    trained: int
    tokens: tuple[float, float] | None
    steps: tuple[StepView, ...]
    flow: Flow
    signals: tuple[SignalView, ...]
    state: Mapping[str, float | None]
    remarks: tuple[str, ...]
    subset_hash: str


def view_selection(
    result: Materialization,
    steps: Sequence[Rows],
    signals: SignalTable,
    pool: Pool,
    *,
    seed: int = 0,
    cache: PrefixCache | None = None,
) -> SelectionView:
    """Look at what a recipe selected.

    Args:
        steps: the rows after each step, see :func:`~autoselection.recipes.rows_by_step`.
        seed, cache: those that the recipe was materialized with: it is run again to tell why the shown rows were dropped.
    """
    told = result.recipe.describe_steps()
    inside = [_mask(signals.selectable, signals.n), *(_mask(rows, signals.n) for rows in steps)]
    moves = list(pairwise(inside))
    registry = default_registry()
    views = []
    drawn = [_drawn(before, after, number) for number, (before, after) in enumerate(moves, 1)]
    reasons = _reasons(result.recipe, signals, pool, drawn, seed, cache)
    limit = min(ROW_TEXT, ALL_TEXT // max(1, 2 * SHOWN_ROWS * len(moves)))
    for place, (step, done, (_, after)) in enumerate(zip(result.recipe.steps, result.lineage, moves, strict=True), 1):
        column = registry.get(step.operator).scored_by(step.params)
        column = column if column in signals.columns else None
        views.append(
            StepView(
                place,
                told[place - 1],
                done.rows_in,
                done.rows_out,
                done.dropped,
                done.missing,
                column,
                _range(signals.columns[column][after]) if column else None,
                _shown(pool, signals, column, drawn[place - 1], reasons[place - 1], limit),
            )
        )
    kept = inside[-1]
    left = inside[0] & ~kept
    return SelectionView(
        recipe=result.recipe.describe(),
        rows=result.distinct,
        pool_rows=signals.n,
        excluded=signals.n - len(signals.selectable),
        trained=len(result.rows),
        tokens=_tokens(signals, result.rows),
        steps=tuple(views),
        flow=_flow(told, inside[0], moves, signals),
        signals=tuple(
            view_signal(name, signals.columns[name], kept, left)
            for name in sorted(signals.columns)
            if name != TOOL_NAMES
        ),
        state=shown_numbers([state_vector(result.rows, signals).to_dict()])[0],
        remarks=tuple(lineage_remarks(result.lineage)),
        subset_hash=result.subset_hash,
    )


def excluded_said(excluded: int) -> str:
    """What shares of sources leave out, for the title of their table; empty where that is nothing."""
    return f" ({excluded:,} rows of the pool, which no recipe may select, are not counted)" if excluded else ""


def view_signal(name: str, values: NDArray[np.float32], kept: NDArray[np.bool_], left: NDArray[np.bool_]) -> SignalView:
    """Distribution of one column over kept and dropped rows, as shares of the rows that have a value."""
    known = ~np.isnan(values)
    ours, theirs = (values[rows & known].astype(np.float64) for rows in (kept, left))
    every = np.concatenate([ours, theirs])
    spread = float(every.std()) if len(every) else 0.0
    edges = bins_of(every)
    mean_kept, mean_dropped = (float(part.mean()) if len(part) else None for part in (ours, theirs))
    shift = None
    if spread > 0 and mean_kept is not None and mean_dropped is not None:
        shift = (mean_kept - mean_dropped) / spread
    return SignalView(
        name,
        edges,
        shares_in(ours, edges),
        shares_in(theirs, edges),
        mean_kept,
        mean_dropped,
        int((kept & ~known).sum()),
        int((left & ~known).sum()),
        shift,
    )


def bins_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of the bins of a distribution, float64[bins + 1]; empty where all values are one."""
    if not len(values) or values.min() == values.max():
        return np.empty(0)
    low, high = np.quantile(values, _ENDS)
    low, high = (low, high) if low < high else (values.min(), values.max())
    return np.linspace(low, high, BINS + 1)


def shares_in(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of the values in each bin, float64[bins]; what lies beyond the ends counts in the first and the last."""
    if not len(edges):
        return np.empty(0)
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    return counts / max(1, len(values))


def selection_flow(recipe: Recipe, steps: Sequence[Rows], signals: SignalTable) -> Flow:
    """The rows of each source through the steps of a recipe; ``steps`` as of :func:`view_selection`."""
    inside = [_mask(signals.selectable, signals.n), *(_mask(rows, signals.n) for rows in steps)]
    return _flow(recipe.describe_steps(), inside[0], list(pairwise(inside)), signals)


def _flow(
    told: Sequence[str],
    start: NDArray[np.bool_],
    moves: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    signals: SignalTable,
) -> Flow:
    sizes = np.bincount(signals.source[start], minlength=len(signals.source_names))
    order = np.argsort(-sizes, kind="stable")
    largest = order[:SHOWN_SOURCES] if len(order) > SHOWN_SOURCES + 1 else order
    names = [signals.source_names[code] for code in largest]
    place = np.full(len(sizes), len(largest))
    place[largest] = np.arange(len(largest))
    if len(order) > len(largest):
        names.append(f"{len(order) - len(largest):,} other sources")

    def counted(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(place[signals.source[rows]], minlength=len(names)).astype(np.int64)

    def table(rows: Sequence[NDArray[np.bool_]]) -> NDArray[np.int64]:
        return np.array([counted(one) for one in rows], np.int64).reshape(len(moves), len(names))

    kept = table([before & after for before, after in moves])
    dropped = table([before & ~after for before, after in moves])
    back = table([after & ~before for before, after in moves])
    return Flow(tuple(names), tuple(told), counted(start), kept, dropped, back)


def _drawn(before: NDArray[np.bool_], after: NDArray[np.bool_], number: int) -> dict[str, Rows]:
    """Twenty rows of each kind, drawn by chance, the same ones every time, by mark."""
    drawn = {}
    for mark, among in ((KEPT, before & after), (DROPPED, before & ~after), (BACK, after & ~before)):
        rows = np.flatnonzero(among)
        drawn[mark] = np.sort(rows[np.random.default_rng([number, len(rows)]).permutation(len(rows))[:SHOWN_ROWS]])
    return drawn


def _reasons(
    recipe: Recipe,
    signals: SignalTable,
    pool: Pool,
    drawn: Sequence[Mapping[str, Rows]],
    seed: int,
    cache: PrefixCache | None,
) -> list[dict[int, str]]:
    """Why each step dropped those of its drawn rows, a clause by row; a row is missing where the operator does not tell."""
    asked = np.unique(np.concatenate([np.zeros(0, np.int64), *(rows[DROPPED] for rows in drawn)]))
    told: list[dict[int, Judgement]] = [{} for _ in drawn]
    for fate in why(recipe, signals, asked, every_step=True, seed=seed, cache=cache):
        for step in fate.steps:
            if step.given and not step.kept and step.judgement is not None:
                told[step.number - 1][fate.row] = step.judgement
    others = sorted({found.other for each in told for found in each.values() if found.other is not None})
    ids = dict(zip(others, pool.row_ids(others), strict=True))
    return [{row: _clause(found, ids) for row, found in each.items()} for each in told]


def _clause(found: Judgement, ids: Mapping[int, str]) -> str:
    return found.sentence if found.other is None else f"{found.sentence} (row {found.other} is {ids[found.other]})"


def _shown(
    pool: Pool,
    signals: SignalTable,
    column: str | None,
    drawn: Mapping[str, Rows],
    reasons: Mapping[int, str],
    limit: int,
) -> tuple[RowText, ...]:
    """The drawn rows of a step, those with scores by score."""
    shown: list[RowText] = []
    for mark, rows in drawn.items():
        scores = signals.columns[column][rows] if column else np.zeros(len(rows), np.float32)
        ordered = rows[np.argsort(scores, kind="stable")]
        scored = None if column is None else (column, signals.columns[column])
        shown += shown_rows(pool, ordered, mark, scored, limit, reasons if mark == DROPPED else {})
    return tuple(shown)


def shown_rows(
    pool: Pool,
    rows: Rows,
    mark: str,
    scored: tuple[str, NDArray[np.float32]] | None = None,
    limit: int = ROW_TEXT,
    reasons: Mapping[int, str] = MappingProxyType({}),
) -> list[RowText]:
    """Rows of a pool as a page shows them.

    Args:
        scored: name and values of a column to show with each row.
        limit: longest text of a row (characters); of a longer one the beginning is shown, and how much is left out.
        reasons: by row why it is not there, shown instead of the column's value, which it names.
    """
    found = []
    for row in Subset(pool, np.asarray(rows, np.int64)):
        score = "" if scored is None else f"{scored[0]} {_number(float(scored[1][row.row]))}"
        spoken = [(str(message["role"]), turn_text(message)) for message in row.messages]
        found.append(RowText(row.id, row.source, mark, reasons.get(row.row, score), _cut(spoken, limit)))
    return found


def _cut(spoken: Sequence[tuple[str, str]], limit: int) -> tuple[tuple[str, str], ...]:
    """The beginning of a conversation: no turn has more than half of it, so that the answer to a long question is seen."""
    shown: list[tuple[str, str]] = []
    left = limit
    for who, said in spoken:
        if left <= 0:
            shown.append(("…", f"{len(spoken) - len(shown):,} more turns"))
            break
        own = min(left, max(1, limit // 2))
        more = f"\n… {len(said) - own:,} more characters" if len(said) > own else ""
        shown.append((who, said[:own] + more))
        left -= min(len(said), own) + 1
    return tuple(shown)


def _number(value: float) -> str:
    return number(value) or "has none"


def _range(values: NDArray[np.float32]) -> tuple[float, float] | None:
    known = values[~np.isnan(values)]
    return (float(known.min()), float(known.max())) if len(known) else None


def _tokens(signals: SignalTable, rows: Rows) -> tuple[float, float] | None:
    if "n_tokens" not in signals.columns:
        return None
    tokens = np.nan_to_num(signals.columns["n_tokens"]).astype(np.float64)
    return float(tokens[rows].sum()), float(tokens.sum())


def _mask(rows: Rows, n: int) -> NDArray[np.bool_]:
    mask = np.zeros(n, bool)
    mask[rows] = True
    return mask
