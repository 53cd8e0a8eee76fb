"""Rows that count more than once: a subset as a list of rows in which a row stands as often as one pass trains on it.

Every number that describes a subset counts such a row so many times. What knows sets alone (bits of a mask, counts from
differences of sets) sees the list as layers: the set of rows that stand at least once, that of those that stand at least
twice, and so on. Sums over the layers are sums over the list.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoselection.operators import Rows


def layers(rows: Rows, n: int) -> list[Rows]:
    """The distinct rows that stand at least once, twice, ... in ``rows``; each set in row order, except a list without
    copies, which is its own only layer as it is.

    Args:
        n: rows of the pool.
    """
    if distinct(rows, n) == len(rows):
        return [rows]
    counts = np.bincount(rows, minlength=n)
    return [np.flatnonzero(counts >= level) for level in range(1, int(counts.max()) + 1)]


def distinct(rows: Rows, n: int) -> int:
    """How many different rows there are."""
    inside = np.zeros(n, bool)
    inside[rows] = True
    return int(np.count_nonzero(inside))


def copied(rows: Rows, copies: NDArray[np.int64] | None) -> Rows:
    """Each of the distinct ``rows`` so many times, copies behind each other."""
    return rows if copies is None else np.repeat(rows, copies)
