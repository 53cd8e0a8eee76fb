"""What the surrogate sees of a realized subset: how much of the pool it keeps, from where, and of which rows.

Three kinds of number, each smooth in what a recipe does and comparable between pools:

* the logarithm of the share kept, of the whole pool and of each source and nearest task (rows): halving a subset is the
  same step at every size, and losing one task altogether, which sinks a recipe, is a long way;
* the mean and spread of every score over the subset, as ranks in the pool and within each source (0 to 1): they do not
  depend on a score's units or outliers, and a direction that helps shows in a handful of evaluations;
* the state vector's drift and relevance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.groups import group_codes
from autoselection.recipes import StateVector
from autoselection.signals.table import SignalTable

Array = NDArray[np.float64]

FLOOR = 0.02
"""Added to every share kept before its logarithm: a group that is lost lies log(0.02) from one that is whole."""
MAX_GROUPS = 32
"""Groups of one kind that get a feature of their own, the largest first."""
STATE_FIELDS = ("distribution_drift", "score_mean", "score_std")


class SubsetFeatures:
    """Describes subsets of one pool.

    Args:
        signals: the pool's signals.
        scores: columns described by their mean and spread; those the pool lacks, or that never vary, are left out.
    """

    def __init__(self, signals: SignalTable, scores: Sequence[str]) -> None:
        self.names: tuple[str, ...] = ()
        self._groups: list[tuple[NDArray[np.int64], Array]] = []  # (code of each row, rows of each group kept apart)
        self._selectable = max(1, len(signals.selectable))
        names = ["log_kept"]
        for kind, codes, labels in _groupings(signals):
            counts = np.bincount(codes[signals.selectable], minlength=len(labels))
            order = np.argsort(-counts, kind="stable")[:MAX_GROUPS]
            order = np.sort(order[counts[order] > 0])
            place = np.full(len(labels), len(order), np.int64)
            place[order] = np.arange(len(order))
            self._groups.append((place[codes], counts[order].astype(np.float64)))
            names += [f"log_kept/{kind}/{labels[code]}" for code in order]
        scores = [name for name in scores if name in signals.columns and _varies(signals.columns[name])]
        ranks = [
            column
            for name in scores
            for column in (_ranks(signals.column(name)), _ranks_within(signals.column(name), signals.source))
        ]
        self._ranks = np.array(ranks, np.float32).T if ranks else np.zeros((signals.n, 0), np.float32)
        placed = [f"{name}{where}" for name in scores for where in ("", "/within source")]
        self.names = (
            *names,
            *(f"mean/{name}" for name in placed),
            *(f"spread/{name}" for name in placed),
            *STATE_FIELDS,
        )

    def __call__(self, rows: NDArray[np.int64], state: StateVector) -> Array:
        """Features of distinct ``rows``, float64, shape ``(len(names),)``; NaN where the state has no value.

        Args:
            state: their state vector.
        """
        rows = np.sort(rows)
        kept = [np.array([len(rows) / self._selectable])]
        for codes, totals in self._groups:
            kept.append(np.bincount(codes[rows], minlength=len(totals) + 1)[: len(totals)] / totals)
        own = self._ranks[rows]
        mean = own.mean(axis=0, dtype=np.float64)
        spread = np.sqrt(np.maximum(np.einsum("ij,ij->j", own, own, dtype=np.float64) / len(rows) - mean**2, 0.0))
        numbers = state.flat()
        fields = [np.nan if numbers[name] is None else float(numbers[name] or 0.0) for name in STATE_FIELDS]
        return np.concatenate([np.log(np.concatenate(kept) + FLOOR), mean, spread, fields])


def _groupings(signals: SignalTable) -> list[tuple[str, NDArray[np.int64], Sequence[str]]]:
    found: list[tuple[str, NDArray[np.int64], Sequence[str]]] = [
        ("source", signals.source.astype(np.int64), signals.source_names)
    ]
    if len(signals.tasks) > 1:
        codes, names = group_codes(signals, "task")
        found.append(("task", codes.astype(np.int64), names))
    return found


def _varies(values: NDArray[np.float32]) -> bool:
    known = values[np.isfinite(values)]
    return len(known) > 0 and bool(known.min() < known.max())


def _ranks(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mid-ranks among the known values, in (0, 1); 0.5 where the value is missing."""
    from scipy.stats import rankdata

    known = np.isfinite(values)
    ranks = np.full(len(values), 0.5, np.float32)
    if known.any():
        ranks[known] = (rankdata(values[known]) - 0.5) / known.sum()
    return ranks


def _ranks_within(values: NDArray[np.float32], source: NDArray[np.integer]) -> NDArray[np.float32]:
    order = np.argsort(source, kind="stable")
    bounds = np.flatnonzero(np.diff(source[order])) + 1
    ranks = np.full(len(values), 0.5, np.float32)
    for members in np.split(order, bounds):
        ranks[members] = _ranks(values[members])
    return ranks
