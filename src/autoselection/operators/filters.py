"""Filters that keep the rows with the highest (or lowest) scores: relevance, quality, complexity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import SignalError
from autoselection.operators.base import BaseOperator, Context, Outcome, Param, Rows, ranged
from autoselection.operators.ranking import (
    Keys,
    rows_of,
    score_keys,
    share,
    smallest,
    smallest_per_group,
)
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


def best_keys(
    scores: NDArray[np.float32], rows: Rows, params: Mapping[str, Any], signals: SignalTable
) -> tuple[Keys, int | None]:
    """Keys of the rows that pass the cut (unsorted), and the best row of all; ``scores`` hold no NaN."""
    keys = score_keys(scores, rows, params["direction"])
    best = int(rows_of(keys.min(keepdims=True))[0]) if len(keys) else None
    if params["threshold"] is not None:
        limit = np.float32(params["threshold"])
        return keys[scores >= limit if params["direction"] == "high" else scores <= limit], best
    if params["scope"] == "source":
        sizes = np.bincount(signals.source[rows], minlength=len(signals.source_names)).astype(np.int64)
        return smallest_per_group(keys, signals.source, _quota(params, sizes)), best
    return smallest(keys, int(_quota(params, len(keys)))), best


def _quota(params: Mapping[str, Any], total: NDArray[np.int64] | int) -> NDArray[np.int64]:
    if params["top_k"] is not None:
        return np.minimum(np.int64(params["top_k"]), np.asarray(total, np.int64))
    return share(params["fraction"], total)


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
        scores = context.signals.column(self.column)[rows]
        unscored = np.isnan(scores)
        missing = int(np.count_nonzero(unscored))
        scored = rows
        if missing:
            scored, scores = rows[~unscored], scores[~unscored]
        keys, best = best_keys(scores, scored, params, context.signals)
        kept = rows_of(np.sort(keys))
        if missing and params["missing"] == "keep":
            kept = np.concatenate([kept, np.sort(rows[unscored])])
        return Outcome(kept, missing=missing, best=best)


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
        unscored = np.ones(len(rows), bool)
        chosen = np.zeros(signals.n, bool)
        notes: dict[str, int] = {}
        best: int | None = None
        for task in tasks:
            scores = signals.column(MONA_PREFIX + task)[rows]
            absent = np.isnan(scores)
            unscored &= absent
            scored = rows
            if absent.any():
                scored, scores = rows[~absent], scores[~absent]
            keys, task_best = best_keys(scores, scored, params, signals)
            best = task_best if best is None else best
            kept = rows_of(keys)
            notes[f"kept for {task}"] = len(kept)
            chosen[kept] = True
        if params["missing"] == "keep":
            chosen[rows[unscored]] = True
        return Outcome(rows[chosen[rows]], missing=int(np.count_nonzero(unscored)), notes=notes, best=best)


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
