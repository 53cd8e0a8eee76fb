"""In how many rows of a subset each SAE feature is active: exact counts, from as few rows as possible.

Counts are whole numbers, so a subset's may be had by adding and taking away rows from those of another set that is
known: no rows, the whole pool, or a subset counted before (an edited recipe changes few rows). Subsets that are asked
for together share one pass over the rows in which they differ, if that is cheaper. Whatever the way, the counts are
the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.operators import Rows
from autoselection.operators.artefacts import pool_artefact
from autoselection.signals.table import SignalTable

Mask = NDArray[np.bool_]
Counts = NDArray[np.float64]

#: Subsets counted in one pass.
_TOGETHER = 8
#: Subsets whose counts are remembered.
_REMEMBERED = 4
#: Cost of a row in a pass over k subsets, in passes of one subset: measured, a + b·k.
_SHARED_COST, _SUBSET_COST = 0.9, 0.1
#: Rows whose features are taken out at once.
_ROWS = 4096
#: float32 counts exactly up to here.
_EXACT = 1 << 24


def feature_counts(subsets: Sequence[Rows], signals: SignalTable) -> Counts:
    """Active rows of each SAE feature in each of the subsets, float64[len(subsets), d].

    Raises:
        SignalError: the pool has no SAE features.
    """
    counter = _counter(signals)
    found = [counter.count(subsets[start : start + _TOGETHER]) for start in range(0, len(subsets), _TOGETHER)]
    return np.concatenate(found) if found else np.zeros((0, signals.require_sae().d))


def drift(counts: Counts, size: int, signals: SignalTable) -> float:
    """``||SNAR(S) - SNAR(pool)||₂ / sqrt(d)`` from the counts of a subset of ``size`` > 0 rows."""
    difference = counts / size - _counter(signals).pool / signals.n
    return float(np.linalg.norm(difference) / np.sqrt(len(counts)))


def forget(signals: SignalTable) -> None:
    """Forget the subsets counted so far, so that a benchmark's run does not profit from the one before."""
    _counter(signals).seen.clear()


def _counter(signals: SignalTable) -> _Counter:
    return pool_artefact(signals, "feature counter", lambda: _Counter(signals))


class _Counter:
    """The pool's active features, its counts, and the counts of the subsets seen last."""

    def __init__(self, signals: SignalTable) -> None:
        self.active = signals.require_sae().active()
        self.dtype = np.float32 if signals.n < _EXACT else np.float64
        self.pool = self._sums(self.active, np.ones((signals.n, 1), self.dtype))[0]
        nothing, everything = np.zeros(signals.n, bool), np.ones(signals.n, bool)
        self.fixed: list[tuple[Mask, Counts]] = [(nothing, np.zeros_like(self.pool)), (everything, self.pool)]
        self.seen: deque[tuple[Mask, Counts]] = deque(maxlen=_REMEMBERED)

    def count(self, subsets: Sequence[Rows]) -> Counts:
        masks = np.zeros((len(subsets), len(self.fixed[0][0])), bool)
        for mask, rows in zip(masks, subsets, strict=True):
            mask[rows] = True
        known = [*self.fixed, *self.seen]
        changes = np.array([[np.count_nonzero(mask != base) for base, _ in known] for mask in masks])
        alone = changes.min(axis=1)
        shared, pick = None, 0
        if len(masks) > 1:
            pick = int(changes.sum(axis=0).argmin())
            differs = (masks != known[pick][0]).any(axis=0)
            if np.count_nonzero(differs) * (_SHARED_COST + _SUBSET_COST * len(masks)) < alone.sum():
                shared = np.flatnonzero(differs)
        if shared is not None:
            counts = known[pick][1] + self._changes(masks, known[pick][0], shared)
        else:
            counts = np.empty((len(masks), len(self.pool)))
            for i, best in enumerate(changes.argmin(axis=1).tolist()):
                base, start = known[best]
                counts[i] = start + self._changes(masks[i : i + 1], base, np.flatnonzero(masks[i] != base))[0]
        for mask, own in zip(masks[-_REMEMBERED:], counts[-_REMEMBERED:], strict=True):
            self.seen.append((mask.copy(), own))
        return counts

    def _changes(self, masks: Mask, base: Mask, rows: Rows) -> Counts:
        """What the counts of each mask have more than those of ``base``, which differ in ``rows`` at most."""
        total = np.zeros((len(masks), len(self.pool)))
        for start in range(0, len(rows), _ROWS):  # in pieces that stay in the processor's cache
            part = rows[start : start + _ROWS]
            signs = masks[:, part].T.astype(self.dtype) - base[part, None].astype(self.dtype)
            total += self._sums(self.active[part], signs)
        return total

    @staticmethod
    def _sums(active: Any, weights: NDArray[Any]) -> Counts:
        sums: NDArray[Any] = active.T @ weights
        return np.ascontiguousarray(sums.T, np.float64)
