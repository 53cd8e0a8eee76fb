"""In how many rows of a subset each SAE feature is active: exact counts, from as few rows as possible.

Counts are whole numbers, so a subset's may be had by adding and taking away rows from those of another set that is
known: no rows, the whole pool, or a subset counted before (an edited recipe changes few rows). Subsets that are asked
for together are counted along a tree in which each hangs on the one it differs least from (Prim's minimum spanning
tree). Differences are estimated on a sample of the rows; whatever the tree, the counts are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.operators import Rows
from autoselection.recipes.copies import layers
from autoselection.signals.derived.memory import kept_with
from autoselection.signals.table import SignalTable

Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]

#: Memory of the subsets that are counted along one tree, and of those remembered for the next (bytes).
_MEMORY = 64 * 1024 * 1024
#: Most subsets in a tree, whatever their memory.
_TOGETHER = 256
#: Rows on which differences of subsets are estimated.
_SAMPLE = 8192
#: Rows whose features are taken out at once: they stay in the processor's cache, and int16 counts them.
_ROWS = 4096


def feature_counts(subsets: Sequence[Rows], signals: SignalTable) -> Iterator[Counts]:
    """Active rows of each SAE feature in each of the subsets in turn, int64[d]; a row that stands there twice counts twice.

    Raises:
        SignalError: the pool has no SAE features.
    """
    counter = _counter(signals)
    sets = [layers(rows, signals.n) for rows in subsets]
    flat = [layer for found in sets for layer in found]
    counted = (
        counts
        for start in range(0, len(flat), counter.limit)
        for counts in counter.count(flat[start : start + counter.limit])
    )
    for found in sets:
        yield sum((next(counted) for _ in found[1:]), next(counted))


def drift(counts: Counts, size: int, signals: SignalTable) -> float:
    """``||SNAR(S) - SNAR(pool)||₂ / sqrt(d)`` from the counts of a subset of ``size`` > 0 rows."""
    difference = counts / size - _counter(signals).pool / signals.n
    return float(np.linalg.norm(difference) / np.sqrt(len(counts)))


def forget(signals: SignalTable) -> None:
    """Forget the subsets counted so far, so that a benchmark's run does not profit from the one before."""
    _counter(signals).seen.clear()


def _counter(signals: SignalTable) -> _Counter:
    return kept_with(signals, "feature counter", lambda: _Counter(signals))


@dataclass(frozen=True, eq=False)
class _Counted:
    """A set of rows with its counts.

    Attributes:
        members: uint8, one bit a row of the pool (:func:`numpy.packbits`).
        sample: float32 zeros and ones, for the rows of the sample.
        counts: int32[d], or int64 for a pool too large for it.
    """

    members: NDArray[np.uint8]
    sample: NDArray[np.float32]
    counts: NDArray[Any]


class _Counter:
    """The pool's active features, its counts, and the counts of the subsets seen last."""

    def __init__(self, signals: SignalTable) -> None:
        self.n = signals.n
        self.active = signals.require_sae().active()
        self.dtype = np.int32 if self.n <= np.iinfo(np.int32).max else np.int64
        self.step = -(-self.n // _SAMPLE)
        d = self.active.shape[1]
        self.limit = max(8, min(_TOGETHER, _MEMORY // (d * np.dtype(self.dtype).itemsize + self.n // 8 + 1)))
        nothing = _Counted(*self._bits(np.zeros(self.n, bool)), np.zeros(d, self.dtype))
        self.pool: Counts = np.zeros(d, np.int64)
        for start in range(0, self.n, _ROWS):
            self.pool += np.bincount(_indices(self.active, start, start + _ROWS), minlength=d)
        everything = _Counted(*self._bits(np.ones(self.n, bool)), self.pool.astype(self.dtype))
        self.fixed = [nothing, everything]
        self.seen: list[_Counted] = []

    def count(self, subsets: Sequence[Rows]) -> Iterator[Counts]:
        """The counts of each of the subsets, at most ``limit`` of them."""
        found: list[_Counted | None] = [None] * len(subsets)
        bits = [self._bits(self._mask(rows)) for rows in subsets]
        known = [*self.fixed, *self.seen]
        samples = [np.array([sample for _, sample in bits]), np.array([item.sample for item in known])]
        for own, base in _tree(*samples):
            start = known[base] if base < len(known) else found[base - len(known)]
            assert start is not None  # a tree grows from what is known
            found[own] = _Counted(*bits[own], start.counts + self._change(bits[own][0], start.members))
        done = [item for item in found if item is not None]
        self.seen = [*self.seen, *done][-self.limit :]
        return (item.counts.astype(np.int64) for item in done)

    def _mask(self, rows: Rows) -> Mask:
        mask = np.zeros(self.n, bool)
        mask[rows] = True
        return mask

    def _bits(self, mask: Mask) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The members of a set as bits, and those among the sampled rows as numbers."""
        return np.packbits(mask), mask[:: self.step].astype(np.float32)

    def _change(self, members: NDArray[np.uint8], base: NDArray[np.uint8]) -> NDArray[Any]:
        """What the counts of a set have more than those of ``base``."""
        total = np.zeros(self.active.shape[1], self.dtype)
        rows = np.flatnonzero(np.unpackbits(members ^ base, count=self.n))
        signs = _taken(members, rows) * np.int16(2) - np.int16(1)
        for start in range(0, len(rows), _ROWS):
            part = slice(start, start + _ROWS)
            total += self.active[rows[part]].T @ signs[part]
        return total


def _indices(active: Any, start: int, stop: int) -> NDArray[Any]:
    bounds = active.indptr[[start, min(stop, active.shape[0])]]
    found: NDArray[Any] = active.indices[int(bounds[0]) : int(bounds[1])]
    return found


def _taken(packed: NDArray[np.uint8], rows: Rows) -> NDArray[np.int16]:
    """Bits of these rows, 0 or 1."""
    shift = (7 - (rows & 7)).astype(np.uint8)
    found: NDArray[np.int16] = ((packed[rows >> 3] >> shift) & np.uint8(1)).astype(np.int16)
    return found


def _tree(samples: NDArray[np.float32], known: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    """Each of the sets in the order of a minimum spanning tree, with the one it hangs on (the known ones come first)."""
    from_known = _differences(samples, known)
    between = _differences(samples, samples)
    base = from_known.argmin(axis=1)
    nearest = from_known[np.arange(len(samples)), base]
    for _ in range(len(samples)):
        own = int(nearest.argmin())
        yield own, int(base[own])
        nearest[own] = np.inf
        closer = between[own] < nearest
        closer &= np.isfinite(nearest)
        nearest[closer] = between[own][closer]
        base[closer] = len(known) + own


def _differences(some: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """In how many sampled rows each of the sets differs from each of the others."""
    found: NDArray[np.float32] = some.sum(axis=1)[:, None] + others.sum(axis=1)[None, :] - 2.0 * (some @ others.T)
    return found
