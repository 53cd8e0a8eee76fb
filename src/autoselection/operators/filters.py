"""Filters that keep the rows with the highest (or lowest) scores: relevance, quality, complexity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import SignalError
from autoselection.operators.base import BaseOperator, Context, Outcome, Param, Rows, ranged
from autoselection.operators.ranking import Positions, Ranking, ranking, share
from autoselection.signals.table import MONA_PREFIX, SignalTable, how_to_get


def cut_params(
    *, fraction: float, lowest_fraction: float, what: str, bounds: tuple[float, float] | None
) -> tuple[Param, ...]:
    """The parameters of every score filter."""
    low, high = bounds or (None, None)
    return (
        Param(
            "fraction",
            "float",
            fraction,
            low=lowest_fraction,
            high=1.0,
            searched=True,
            group="cut",
            help=f"share of the rows with a score to keep, rounded up{what}",
        ),
        Param("top_k", "int", low=1, group="cut", help=f"number of rows to keep{what}"),
        Param(
            "threshold",
            "float",
            low=low,
            high=high,
            group="cut",
            help="keep scores of at least (direction low: at most) this",
        ),
        Param("direction", "choice", "high", choices=("high", "low"), searched=True, help="which end is kept"),
        Param(
            "scope",
            "choice",
            "whole",
            choices=("whole", "source"),
            searched=True,
            help="cut the whole subset, or each source by itself",
        ),
        Param("missing", "choice", "drop", choices=("drop", "keep"), help="what to do with rows without a score"),
    )


def best_positions(
    ranked: Ranking, positions: Positions, scores: NDArray[np.float32], params: Mapping[str, Any]
) -> Positions:
    """Those of the ascending ``positions`` in a ranking that pass the cut; ``scores`` is the whole column."""
    if params["threshold"] is not None:
        limit = np.float32(params["threshold"])
        values = scores[ranked.order[positions]]
        return positions[values >= limit if params["direction"] == "high" else values <= limit]
    if params["scope"] == "whole":
        return positions[: int(_quota(params, len(positions)))]
    return ranked.first_of_groups(positions, _quota(params, ranked.sizes(positions)))


def _quota(params: Mapping[str, Any], total: NDArray[np.int64] | int) -> NDArray[np.int64]:
    if params["top_k"] is not None:
        return np.minimum(np.int64(params["top_k"]), np.asarray(total, np.int64))
    return share(params["fraction"], total)


def _groups(params: Mapping[str, Any]) -> str | None:
    """What the pool is ranked by; a threshold is the same cut in every group."""
    return None if params["scope"] == "whole" or params["threshold"] is not None else str(params["scope"])


class CutFilter(BaseOperator):
    """What score filters share: pool-dependent ranges, and the strength of a cut as a share of the pool."""

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        return ranged(self.params, top_k={"high": max(1, signals.n)})

    def as_fraction(self, params: Mapping[str, Any], signals: SignalTable) -> float:
        """The cut as a share of the whole pool's rows, whichever parameter decides it."""
        if params.get("fraction") is not None:
            return float(params["fraction"])
        full = {**params, "missing": "drop"}
        rows = np.arange(signals.n, dtype=np.int64)
        kept = self(rows, full, Context(signals, 0, lambda _: rows)).rows
        return len(kept) / max(1, signals.n)

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        raise NotImplementedError


class ScoreFilter(CutFilter):
    """Keep the rows that score best in one column, best first."""

    order = (
        "best score first (direction low: lowest first) over all sources, ties by row index; "
        "rows kept without a score come last, by row index"
    )

    def __init__(self, name: str, column: str, family: str, summary: str) -> None:
        self.name = name
        self.column = column
        self.family = family
        self.summary = summary
        self.params = cut_params(fraction=0.5, lowest_fraction=0.05, what="", bounds=None)

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (self.column,)

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        signals, direction = context.signals, params["direction"]
        scores = signals.column(self.column)
        overall = ranking(signals, self.column, direction)
        groups = _groups(params)
        ranked = overall if groups is None else ranking(signals, self.column, direction, groups)
        scored, unscored = ranked.split(rows)
        kept = best_positions(ranked, scored, scores, params)
        if groups is not None:
            kept = overall.positions(ranked.rows(kept))
        best = _best(overall, ranked, scored)
        if params["missing"] == "keep":
            kept = np.concatenate([kept, unscored])
        return Outcome(overall.rows(kept), missing=len(unscored), best=best)


def _best(overall: Ranking, ranked: Ranking, scored: Positions) -> int | None:
    """The row that stands first of all, if there is one."""
    if len(scored) == 0:
        return None
    if ranked is overall:
        return int(overall.order[scored[0]])
    return int(overall.order[overall.rank[ranked.order[scored]].min()])


class MonaFilter(CutFilter):
    """Keep the rows most relevant to any task, by their MONA scores.

    Each task keeps its own best rows (``fraction`` of the rows it scores, ``top_k`` or ``threshold``; with scope source
    within each source) and the union over tasks is returned, so more than ``fraction`` of the rows may survive.
    """

    name = "mona_filter"
    family = "relevance"
    summary = "the rows closest to a task in SAE features (MONA); every task keeps its best, the union survives"
    order = "the order in which the rows were given"
    params: tuple[Param, ...] = cut_params(
        fraction=0.3, lowest_fraction=0.01, what=", for each task", bounds=(0.0, 1.0)
    )

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return ("mona",)

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        signals = context.signals
        tasks = signals.tasks
        if not tasks:
            raise SignalError(f"The pool has no relevance scores for any task: {how_to_get('mona')}")
        chosen = np.zeros(signals.n, bool)
        unscored: NDArray[np.bool_] | None = np.ones(len(rows), bool)  # by any task; None: every row has a score
        notes: dict[str, int] = {}
        for task in tasks:
            ranked = ranking(signals, MONA_PREFIX + task, params["direction"], _groups(params))
            scored = ranked.count_scored(rows)
            if scored == len(rows):
                unscored = None
            elif unscored is not None:
                unscored &= ranked.rank[rows] >= ranked.scored
            if params["scope"] == "whole" and params["threshold"] is None:
                quota = int(_quota(params, scored))
                chosen |= ranked.rank <= ranked.cutoff(rows, quota)
            else:
                positions = ranked.split(rows)[0]
                kept = best_positions(ranked, positions, signals.column(MONA_PREFIX + task), params)
                chosen[ranked.order[kept]] = True
                quota = len(kept)
            notes[f"kept for {task}"] = quota
        if unscored is not None and params["missing"] == "keep":
            chosen[rows[unscored]] = True
        kept_rows = rows[chosen[rows]]
        missing = 0 if unscored is None else int(np.count_nonzero(unscored))
        best = self._first(rows, params, signals) if len(kept_rows) == 0 else None
        return Outcome(kept_rows, missing=missing, notes=notes, best=best)

    @staticmethod
    def _first(rows: Rows, params: Mapping[str, Any], signals: SignalTable) -> int | None:
        """The best row for the first task that scores any."""
        for task in signals.tasks:
            ranked = ranking(signals, MONA_PREFIX + task, params["direction"])
            scored = ranked.split(rows)[0]
            if len(scored):
                return int(ranked.order[scored[0]])
        return None


BUILTIN_FILTERS = (
    ScoreFilter(
        "ifd_filter",
        "ifd",
        "quality",
        "instruction-following difficulty: loss of the response given the prompt over its loss alone",
    ),
    ScoreFilter("ngram_entropy", "ngram_entropy", "complexity", "Shannon entropy (bits) of the row's word n-grams"),
    ScoreFilter(
        "action_object_branching",
        "action_object_branching",
        "complexity",
        "number of verbs and size of their subtrees in the dependency parse",
    ),
    ScoreFilter(
        "varentropy_filter",
        "varentropy",
        "quality",
        "variance of the base model's surprise over the response's tokens",
    ),
)
