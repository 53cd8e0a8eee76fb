"""Splitting a number of rows over groups in proportion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def allocate(total: int, weights: NDArray[np.float64], capacity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Split ``total`` over groups in proportion to ``weights``, by largest remainder, at most ``capacity`` each.

    What a full group cannot take is split over the others by the same rule, until all is placed or every group of
    positive weight is full. Equal remainders go to the lower group index.
    """
    quotas = np.zeros(len(weights), np.int64)
    open_groups = (weights > 0) & (capacity > 0)
    remaining = total
    while remaining > 0 and open_groups.any():
        ideal = np.where(open_groups, remaining * (weights / weights[open_groups].sum()), 0.0)
        full = open_groups & (capacity <= ideal)
        if not full.any():
            floor = np.floor(ideal).astype(np.int64)
            by_remainder = np.argsort(-(ideal - floor)[open_groups].round(9), kind="stable")
            quotas += floor
            quotas[np.flatnonzero(open_groups)[by_remainder[: remaining - int(floor.sum())]]] += 1
            break
        quotas[full] = capacity[full]
        remaining -= int(capacity[full].sum())
        open_groups &= ~full
    return quotas
