"""What the surrogate sees of a realized subset: how much of the pool it keeps, from where, and of which rows.

Four kinds of number, each smooth in what a recipe does and comparable between pools:

* the logarithm of the share kept, of the whole pool and of each source and nearest task (rows): halving a subset is the
  same step at every size, and losing one task altogether, which sinks a recipe, is a long way; by how much less is kept
  of the source, and of the task, that lost most;
* the logarithm of the share of distinct texts;
* the mean and spread of every score over the subset, as ranks in the pool and within each source (0 to 1): they do not
  depend on a score's units or outliers, and a direction that helps shows in a handful of evaluations;
* the state vector's drift and relevance.

What is the same number twice is there once: a pool of one source has no share of that source beside its own, and no ranks
within it; two columns that order the rows alike, or one against the other, are one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.groups import group_codes
from autoselection.recipes import StateVector
from autoselection.recipes.copies import layers
from autoselection.recipes.state import DRIFT_AND_RELEVANCE, ascending, drift_and_relevance
from autoselection.search.scores import varies
from autoselection.signals.table import SignalTable

Array = NDArray[np.float64]

FLOOR = 0.02
"""Added to every share kept before its logarithm: a group that is lost lies log(0.02) from one that is whole."""
MAX_GROUPS = 32
"""Groups of one kind that get a feature of their own, the largest first."""
ALIKE = 0.999
"""Correlation of two columns of ranks, of either sign, from which they count as one."""
_ROWS = 2048
"""Rows whose ranks are summed at once, a multiple of 8: they stay in the processor's cache."""
_KEPT = 1 << 27
"""Bytes that the numbers of all rows may take to be kept from round to round."""


class SubsetFeatures:
    """Describes subsets of one pool.

    Args:
        signals: the pool's signals.
        scores: columns described by their mean and spread, in the order of their claim to stay where two are alike; those
            that the pool lacks, or that never vary, are left out.

    Attributes:
        names: of the features, such as ``log_kept/source/forum`` or ``mean/ifd/within source``.
    """

    def __init__(self, signals: SignalTable, scores: Sequence[str]) -> None:
        self.names: tuple[str, ...] = ()
        self._groups: list[tuple[NDArray[np.int64], Array]] = []  # (code of each row, rows of each group kept apart)
        self._signals = signals
        self._n = signals.n
        self._selectable = max(1, len(signals.selectable))
        self._least: list[slice] = []  # places of the shares kept of one kind of group
        names, least = ["log_kept"], []
        for kind, codes, labels in _groupings(signals):
            codes, kept = _kept_apart(codes, len(labels), signals.selectable, self._groups)
            counts = np.bincount(codes[signals.selectable], minlength=len(kept))[: len(kept)]
            self._groups.append((codes, counts.astype(np.float64)))
            if len(kept) > 1:
                self._least.append(slice(len(names), len(names) + len(kept)))
                least.append(f"least_kept/{kind}")
            names += [f"log_kept/{kind}/{labels[code]}" for code in kept]
        placed: list[str] = []
        columns: list[NDArray[np.float32]] = []
        for name in scores:
            if name in signals.columns and varies(signals.columns[name]):
                values = signals.columns[name]
                ranks = {name: _ranks(values), f"{name}/within source": _ranks_within(values, signals.source)}
                for place, column in ranks.items():
                    if _unlike(column, columns, signals.selectable):
                        placed.append(place)
                        columns.append(column)
        self._ranks = np.array(columns, np.float32).T if columns else np.zeros((signals.n, 0), np.float32)
        self._texts = _distinct_codes(signals)
        self._distinct = 0 if self._texts is None else int(self._texts.max()) + 1
        self._bits = 53 - signals.n.bit_length()  # of the fractions that float64 sums exactly over the pool
        self._blocks: dict[int, Array] = {}
        self._width = 3 * self._ranks.shape[1] + sum(len(totals) for _, totals in self._groups)
        self.names = (
            *names,
            *least,
            *(("log_distinct",) if self._texts is not None else ()),
            *(f"mean/{name}" for name in placed),
            *(f"spread/{name}" for name in placed),
            *DRIFT_AND_RELEVANCE,
        )

    def __call__(self, rows: NDArray[np.int64], state: StateVector) -> Array:
        """Features of ``rows``, float64, shape ``(len(names),)``; NaN where the state has no value.

        Args:
            state: their state vector.
        """
        rows = ascending(rows, self._n)
        parts = (self._numbers(rows[start : start + _ROWS]).sum(axis=0) for start in range(0, len(rows), _ROWS))
        numbers = state.flat()
        fields = np.array([np.nan if (value := numbers[name]) is None else value for name in DRIFT_AND_RELEVANCE])
        return self._described(sum(parts, np.zeros(self._width)), rows, fields)

    def many(self, subsets: Sequence[NDArray[np.int64]]) -> list[Array]:
        """The features of several subsets, each exactly as for it alone; the pool is read once for all of them."""
        found = [layers(rows, self._n) for rows in subsets]
        sets = [layer for own in found for layer in own]
        members = np.zeros((len(sets), -(-self._n // 8)), np.uint8)  # a bit a row
        for own, rows in zip(members, sets, strict=True):
            mask = np.zeros(self._n, bool)
            mask[rows] = True
            own[:] = np.packbits(mask)
        sums = np.zeros((len(sets), self._width))
        for start in range(0, self._n, _ROWS):
            count = min(_ROWS, self._n - start)
            inside = np.unpackbits(members[:, start // 8 : (start + _ROWS) // 8], axis=1, count=count)
            sums += inside.astype(np.float64) @ self._block(start, count)
        if len(sets) > len(subsets):
            first = np.cumsum([0, *(len(own) for own in found[:-1])])
            sums = np.add.reduceat(sums, first, axis=0)
        fields = drift_and_relevance(subsets, self._signals)
        return [self._described(*given) for given in zip(sums, subsets, fields, strict=True)]

    def _block(self, start: int, count: int) -> Array:
        """:meth:`_numbers` of a block of rows, kept where the pool is small enough."""
        found = self._blocks.get(start)
        if found is None:
            found = self._numbers(slice(start, start + count))
            if self._n * self._width * found.itemsize <= _KEPT:
                self._blocks[start] = found
        return found

    def _numbers(self, rows: slice | NDArray[np.int64]) -> Array:
        """What is summed over the rows of a subset: ranks, their squares in two parts, and a 1 for each row's groups.

        All are multiples of a power of two, so small that the sum over the whole pool is exact: it does not depend on
        the order of the sum, hence neither on what is asked together nor on how a matrix product is computed.
        """
        ranks = _multiple(self._ranks[rows], self._bits)
        squares = ranks * ranks
        coarse = _multiple(squares, self._bits)
        fine = _multiple(squares - coarse, 2 * self._bits)
        groups = [codes[rows][:, None] == np.arange(len(totals)) for codes, totals in self._groups]
        return np.concatenate([ranks, coarse, fine, *groups], axis=1, dtype=np.float64)

    def _described(self, sums: Array, rows: NDArray[np.int64], fields: Array) -> Array:
        """The features from the sums of :meth:`_numbers` and the fields of the state."""
        scores = self._ranks.shape[1]
        count = len(rows)
        mean = sums[:scores] / count
        squares = (sums[scores : 2 * scores] + sums[2 * scores : 3 * scores]) / count
        spread = np.sqrt(np.maximum(squares - mean**2, 0.0))
        totals = np.concatenate([[self._selectable], *(totals for _, totals in self._groups)])
        kept = np.log(np.concatenate([[count], sums[3 * scores :]]) / totals + FLOOR)
        least = [kept[places].min() - kept[0] for places in self._least]
        if self._texts is not None:
            seen = np.zeros(self._distinct, bool)
            seen[self._texts[rows]] = True
            least.append(np.log(np.count_nonzero(seen) / count))
        return np.concatenate([kept, least, mean, spread, fields])


def _multiple(values: NDArray[np.floating], bits: int) -> Array:
    """The nearest multiples of ``2**-bits``."""
    scale = 2.0**bits
    return np.asarray(np.rint(values.astype(np.float64) * scale) / scale)


def _distinct_codes(signals: SignalTable) -> NDArray[np.int64] | None:
    """Number of each row's text, from 0; None where the texts are not known or no two are the same."""
    if signals.text_hash is None:
        return None
    distinct, codes = np.unique(signals.text_hash, return_inverse=True)
    return codes if len(distinct) < signals.n else None


def _groupings(signals: SignalTable) -> list[tuple[str, NDArray[np.int64], Sequence[str]]]:
    found: list[tuple[str, NDArray[np.int64], Sequence[str]]] = [
        ("source", signals.source.astype(np.int64), signals.source_names)
    ]
    if len(signals.tasks) > 1:
        codes, names = group_codes(signals, "task")
        found.append(("task", codes.astype(np.int64), names))
    return found


def _kept_apart(
    codes: NDArray[np.int64], count: int, rows: NDArray[np.int64], earlier: Sequence[tuple[NDArray[np.int64], Array]]
) -> tuple[NDArray[np.int64], list[int]]:
    """The groups of one kind that get a feature: each row's place among them (their number: in none), and their codes.

    They are the largest :data:`MAX_GROUPS` that hold some of ``rows``, but neither all of them nor just those of an
    earlier group.
    """
    own = codes[rows]
    counts = np.bincount(own, minlength=count)
    known = (counts > 0) & (counts < len(rows))
    for other, totals in earlier:
        pairs, shared = np.unique(np.stack([own, other[rows]]), axis=1, return_counts=True)
        same = (shared == counts[pairs[0]]) & (shared == np.r_[totals, 0.0][pairs[1]])
        known[pairs[0][same]] = False
    order = np.argsort(-counts, kind="stable")
    kept = np.sort(order[known[order]][:MAX_GROUPS])
    place = np.full(count, len(kept), np.int64)
    place[kept] = np.arange(len(kept))
    return place[codes], kept.tolist()


def _unlike(column: NDArray[np.float32], others: Sequence[NDArray[np.float32]], rows: NDArray[np.int64]) -> bool:
    """Whether a column varies among the rows, and orders them unlike each of the others, whichever way round."""
    own = _centred(column[rows])
    if not own.any():
        return False
    return all(abs(float(own @ _centred(other[rows]))) < ALIKE for other in others)


def _centred(column: NDArray[np.float32]) -> Array:
    """Around its mean, with length 1; zeros for one that never varies."""
    values = column - column.mean(dtype=np.float64)
    length = float(np.linalg.norm(values))
    return values / length if length > 1e-6 else np.zeros(len(values))


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
