"""Ordering rows by a score without sorting them: a pool is ranked once, a subset is then a set of flagged ranks.

A :class:`Ranking` holds the pool's rows best first. The rows of a subset, best first, are found by raising a flag at the
rank of each and reading the flags in order: linear in the pool, with no comparison. A top fraction is a slice of that,
and a cut within groups is the same with rows ranked group by group. Rankings are built once per signal table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.base import Rows
from autoselection.operators.groups import group_codes
from autoselection.operators.param import DIGITS
from autoselection.signals.derived.memory import kept_with
from autoselection.signals.table import SignalTable

Direction = Literal["high", "low"]
Positions = NDArray[np.int64]

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_SIGN = np.uint32(0x80000000)
#: A subset smaller than the pool by this factor is sorted: its flags would be few and far between.
_SPARSE = 32


@dataclass(frozen=True, eq=False)
class Ranking:
    """The rows of a pool in an order of preference: by group, best first within a group, ties by row index.

    Attributes:
        order: int32[N], rows from the first to the last; rows without a score are at the end, by row index.
        rank: int32[N], where each row stands in ``order``.
        starts: int64[G + 1], where each group starts in ``order``; the last is the number of rows with a score.
    """

    order: NDArray[np.int32]
    rank: NDArray[np.int32]
    starts: NDArray[np.int64]

    @property
    def scored(self) -> int:
        """Rows of the pool that have a score."""
        return int(self.starts[-1])

    def positions(self, rows: Rows) -> Positions:
        """Ranks of ``rows`` (distinct), ascending."""
        n = len(self.rank)
        if len(rows) == n:
            return np.arange(n, dtype=np.int64)
        if len(rows) * _SPARSE < n:
            return np.sort(self.rank[rows]).astype(np.int64)
        flags = np.zeros(n, bool)
        flags[self.rank[rows]] = True
        return np.flatnonzero(flags)

    def cutoff(self, rows: Rows, quota: int) -> int:
        """Position of the ``quota``-th of those of ``rows`` that have a score; -1 for none.

        The rows up to there are those that pass the cut: ``rank[rows] <= cutoff``.
        """
        if quota < 1:
            return -1
        return quota - 1 if len(rows) == len(self.rank) else int(self.positions(rows)[quota - 1])

    def count_scored(self, rows: Rows) -> int:
        """How many of ``rows`` have a score."""
        if self.scored == len(self.rank) or len(rows) == len(self.rank):
            return min(len(rows), self.scored)
        return int(np.count_nonzero(self.rank[rows] < self.scored))

    def rows(self, positions: Positions) -> Rows:
        """The rows that stand at ``positions``."""
        return self.order[positions].astype(np.int64)

    def split(self, rows: Rows) -> tuple[Positions, Positions]:
        """Positions of those of ``rows`` that have a score, and of those that have none."""
        positions = self.positions(rows)
        cut = int(np.searchsorted(positions, self.scored))
        return positions[:cut], positions[cut:]

    def sizes(self, positions: Positions) -> NDArray[np.int64]:
        """How many of the ascending ``positions`` fall into each group, int64[G]."""
        return np.diff(np.searchsorted(positions, self.starts))

    def first_of_groups(self, positions: Positions, quotas: NDArray[np.int64]) -> Positions:
        """The ``quotas[g]`` first of the ascending ``positions`` in each group g, ascending."""
        bounds = np.searchsorted(positions, self.starts)
        sizes = np.diff(bounds)
        taken = np.minimum(quotas, sizes)
        kept = np.repeat(bounds[:-1] - (np.cumsum(taken) - taken), taken) + np.arange(int(taken.sum()))
        return positions[kept]

    def among_first(self, rows: Rows, codes: NDArray[np.integer], quotas: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of ``rows`` are among the ``quotas[g]`` first of them in their group g; ``codes`` has every row's group."""
        positions = self.positions(rows)
        bounds = np.searchsorted(positions, self.starts)
        taken = np.minimum(quotas, np.diff(bounds))
        last = np.full(len(taken), -1, self.rank.dtype)
        some = taken > 0
        last[some] = positions[(bounds[:-1] + taken)[some] - 1]
        found: NDArray[np.bool_] = self.rank[rows] <= last[codes[rows]]
        return found


def ranking(signals: SignalTable, column: str, direction: Direction, groups: str | None = None) -> Ranking:
    """The pool ranked by a column, highest (or lowest) score first; within each group if ``groups`` names a grouping.

    Args:
        groups: a scope of :func:`~autoselection.operators.groups.group_codes`.

    Raises:
        SignalError: the table has no such column, or nothing to group by.
    """
    scores = signals.column(column)
    return kept_with(
        signals, ("ranking", column, direction, groups), lambda: ranking_of(signals, scores, direction, groups)
    )


def ranking_of(
    signals: SignalTable, scores: NDArray[np.float32], direction: Direction, groups: str | None = None
) -> Ranking:
    """:func:`ranking` by scores that are no column; nothing of it is kept."""
    grouped = None
    if groups is not None:
        codes, names = group_codes(signals, groups)
        grouped = (codes, len(names))
    return _ranked(_ordinal(scores, direction), np.isnan(scores), grouped)


def random_ranking(
    signals: SignalTable,
    stream: tuple[int, ...],
    groups: str = "source",
) -> Ranking:
    """The pool in random order within each source, or other group.

    Every row has its own draw, so that a smaller sample of a larger one needs no new draws, and neither the other rows
    nor their order matter.

    Args:
        stream: what the draws are seeded with (:attr:`~autoselection.operators.base.Context.stream`); they are made once.
        groups: a scope of :func:`~autoselection.operators.groups.group_codes`.
    """

    def build() -> Ranking:
        values = np.random.default_rng(stream).integers(0, 2**32, size=signals.n, dtype=np.uint32)
        codes, names = group_codes(signals, groups)
        return _ranked(values, None, (codes, len(names)))

    return kept_with(signals, ("random ranking", groups, *stream), build)


def _ordinal(scores: NDArray[Any], direction: Direction) -> NDArray[np.uint32]:
    """Unsigned integers that put the preferred score first."""
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.uint32)  # adding 0 turns -0.0 into 0.0
    ascending = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return ~ascending if direction == "high" else ascending


def _ranked(
    ordinal: NDArray[np.uint32], missing: NDArray[np.bool_] | None, groups: tuple[NDArray[np.int32], int] | None
) -> Ranking:
    """Rank rows by group, ordinal and row index, in one sort of 64-bit integers (and a stable one by group)."""
    n = len(ordinal)
    order = (np.sort((ordinal.astype(np.uint64) << _SHIFT) | np.arange(n, dtype=np.uint64)) & _LOW).astype(np.int32)
    unscored = np.zeros(0, np.int32)
    if missing is not None and missing.any():
        order = order[~missing[order]]
        unscored = np.flatnonzero(missing).astype(np.int32)
    starts = np.array([0, len(order)], np.int64)
    if groups is not None:
        codes, count = groups
        own = codes[order]
        if count <= np.iinfo(np.uint16).max:
            own = own.astype(np.uint16)  # a stable sort of 16-bit integers is a radix sort
        order = order[np.argsort(own, kind="stable")]
        starts = np.append(0, np.cumsum(np.bincount(own, minlength=count))).astype(np.int64)
    order = np.concatenate([order, unscored])
    rank = np.empty(n, np.int32)
    rank[order] = np.arange(n, dtype=np.int32)
    return Ranking(order, rank, starts)


def share(fraction: float, total: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """``ceil(fraction * total)``, exact for fractions of :data:`~autoselection.operators.base.DIGITS` digits."""
    scale = 10**DIGITS
    rounded: NDArray[np.int64] = -(-np.asarray(total, np.int64) * round(fraction * scale) // scale)
    return rounded


def keep_in_order(rows: Rows, chosen: Rows, n: int) -> Rows:
    """Those of ``rows`` that are in ``chosen``, in the order of ``rows``; ``n`` is the size of the pool."""
    mask = np.zeros(n, bool)
    mask[chosen] = True
    return rows[mask[rows]]
