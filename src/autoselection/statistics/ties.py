"""Numbers that are the same but for rounding: means of the same values in another order differ in their last bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from autoselection.statistics.bootstrap import Floats

#: Neighbours that differ by no more than this share of the larger one are the same number.
ROUNDING = 1e-12


def without_rounding(values: ArrayLike) -> Floats:
    """Values for ranks and for "is it the same": those that differ by rounding alone become the smallest of them.

    Values are compared with their neighbours in order, and not written with fewer digits: two sides of a last digit would stay
    apart. All others stay as they are.

    Args:
        values: n numbers; infinities and NaN are left alone.

    Returns:
        float64[n].

    >>> float(np.ptp(without_rounding([0.1 + 0.2, 0.3, 0.3])))
    0.0
    """
    found = np.array(values, np.float64)
    order = np.argsort(found, kind="stable")
    ascending = found[order]
    size = np.abs(ascending)
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = np.diff(ascending)
        same = np.isfinite(gaps) & (gaps <= ROUNDING * np.maximum(size[1:], size[:-1]))
    starts = np.flatnonzero(np.append(True, ~same)[: len(found)])
    found[order] = np.repeat(ascending[starts], np.diff(np.append(starts, len(found))))
    return found


def all_alike(values: ArrayLike) -> bool:
    """Whether finite numbers, at least one, are the same but for rounding."""
    return bool(np.ptp(without_rounding(values)) == 0)
