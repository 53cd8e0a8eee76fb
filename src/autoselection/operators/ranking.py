"""Ordering rows by a score in one integer sort.

A row's *key* is a uint64: the upper half ranks its score, the lower half is its row index. Sorting keys therefore sorts
rows best first with ties by row index, and NumPy sorts integers several times faster than it sorts pairs.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.base import DIGITS, Rows

Keys = NDArray[np.uint64]
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_SIGN = np.uint32(0x80000000)


def score_keys(scores: NDArray[Any], rows: Rows, direction: Literal["high", "low"]) -> Keys:
    """Keys that put the highest (or lowest) score first; ``scores`` are aligned with ``rows`` and hold no NaN."""
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.uint32)  # adding 0 turns -0.0 into 0.0
    ascending = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return _keys(~ascending if direction == "high" else ascending, rows)


def random_keys(rng: np.random.Generator, n: int, rows: Rows) -> Keys:
    """Keys that put ``rows`` in random order; every one of the pool's ``n`` rows has its own draw, so that a smaller
    sample of a larger one needs no new draws and the order in which rows are given does not matter."""
    return _keys(rng.integers(0, 2**32, size=n, dtype=np.uint32)[rows], rows)


def _keys(rank: NDArray[np.uint32], rows: Rows) -> Keys:
    return (rank.astype(np.uint64) << _SHIFT) | rows.astype(np.uint64)


def rows_of(keys: Keys) -> Rows:
    """The rows of ``keys``, in their order."""
    return (keys & _LOW).astype(np.int64)


def smallest(keys: Keys, count: int) -> Keys:
    """The ``count`` smallest keys, unsorted."""
    return keys if count >= len(keys) else np.partition(keys, count - 1)[:count] if count > 0 else keys[:0]


def smallest_per_group(keys: Keys, codes: NDArray[np.int32], quotas: NDArray[np.int64]) -> Keys:
    """The ``quotas[g]`` smallest keys of every group g, sorted; ``codes`` gives the group of each row of the pool."""
    keys = np.sort(keys)
    groups = codes[rows_of(keys)]
    if len(quotas) <= np.iinfo(np.uint16).max:
        groups = groups.astype(np.uint16)  # a stable sort of 16-bit integers is a radix sort
    order = np.argsort(groups, kind="stable")
    counts = np.bincount(groups, minlength=len(quotas))
    rank = np.empty(len(keys), np.int64)
    rank[order] = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    return keys[rank < quotas[groups]]


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
