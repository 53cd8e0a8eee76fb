"""Weighted overlaps of a subset with many known ones, in one pass over its rows.

Every row of the pool holds one bit for each known subset, in blocks of :data:`BITS`. The weights of a subset's rows are
summed by the value of these bits, and the sums of the values that have a bit set are what the subset shares with the
known one of that bit. So a subset of m rows costs O(m) for a whole block of known subsets, and a pool of N rows holds
two bytes a row and block. A row that a subset repeats weighs as often: common weight is that of the smaller number of
copies, which is the sum over layers (the rows that both have at least once, at least twice, ...).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoselection.recipes.copies import layers

Array = NDArray[np.float64]

BITS = 12
"""Known subsets in a block: sums by value stay in the processor's cache."""
_HAS_BIT: Array = ((np.arange(1 << BITS)[:, None] >> np.arange(BITS)) & 1).astype(np.float64)


class Overlaps:
    """Known subsets of a pool, and how much others share with them.

    Args:
        weights: positive weight of each row of the pool, such as its number of tokens.
    """

    def __init__(self, weights: Array) -> None:
        self._weights = weights
        self._blocks: list[NDArray[np.uint16]] = []  # bit i of row r: the block's i-th layer has r
        self._totals: list[float] = []
        self._layers: list[tuple[int, int]] = []  # of every bit the known subset, and how often its rows stand there

    def __len__(self) -> int:
        return len(self._totals)

    def add(self, rows: NDArray[np.int64]) -> None:
        """Add a known subset."""
        for level, layer in enumerate(layers(rows, len(self._weights)), start=1):
            bit = len(self._layers) % BITS
            if bit == 0:
                self._blocks.append(np.zeros(len(self._weights), np.uint16))
            self._blocks[-1][layer] |= np.uint16(1 << bit)
            self._layers.append((len(self), level))
        self._totals.append(float(self._weights[rows].sum()))

    def jaccard(self, rows: NDArray[np.int64]) -> Array:
        """Weighted Jaccard similarity ``w(A ∩ B) / w(A ∪ B)`` with each known subset, in the order added.

        Args:
            rows: rows of the subset, at least one.
        """
        common = np.zeros(len(self))
        if self._layers:
            owners, levels = np.array(self._layers).T
            for level, layer in enumerate(layers(rows, len(self._weights)), start=1):
                alike = levels == level
                common += np.bincount(owners[alike], self._shared(layer)[alike], minlength=len(self))
        return np.asarray(common / (np.array(self._totals) + self._weights[rows].sum() - common))

    def _shared(self, rows: NDArray[np.int64]) -> Array:
        """Weight that distinct rows have in common with every layer."""
        own = self._weights[rows]
        common = np.empty(len(self._layers))
        for place, block in enumerate(self._blocks):
            held = common[place * BITS : (place + 1) * BITS]
            values = 1 << len(held)
            held[:] = np.bincount(block[rows], own, minlength=values) @ _HAS_BIT[:values, : len(held)]
        return common


def overlap(
    subsets: Sequence[NDArray[np.int64]], weights: Array, others: Sequence[NDArray[np.int64]] | None = None
) -> Array:
    """Weighted Jaccard similarity of subsets, shape ``(len(subsets), len(others))``.

    Args:
        subsets: row indices of each subset, none empty; one that stands there twice weighs twice.
        weights: positive weight of each row of the pool, such as its number of tokens.
        others: subsets they are compared with (default: themselves).
    """
    known = Overlaps(weights)
    for rows in subsets:
        known.add(rows)
    compared = subsets if others is None else others
    return np.array([known.jaccard(rows) for rows in compared]).reshape(len(compared), len(subsets)).T
