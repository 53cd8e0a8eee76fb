"""k-means on the sphere, for all that clusters a pool's rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.pairs import IntArray

_FIT_ROWS = 20_000
_BLOCK = 4096


def spherical_kmeans(points: NDArray[np.float32], count: int, rng: np.random.Generator, *, rounds: int) -> IntArray:
    """Cluster of each unit row (Dhillon and Modha 2001), int64[N]: the centre with the highest cosine, the lower on ties.

    Fitted in at most ``rounds`` rounds on at most max(20,000, 40 · count) random rows, from as many distinct random rows
    as there are clusters; a cluster that loses all its rows, or whose rows cancel out, keeps its centre. Written out
    because scikit-learn's sums depend on the timing of threads, and subsets must not.
    """
    limit = max(_FIT_ROWS, 40 * count)
    fit = points if len(points) <= limit else points[np.sort(rng.choice(len(points), limit, replace=False))]
    centres = fit[np.sort(rng.choice(len(fit), min(count, len(fit)), replace=False))].copy()
    previous = np.zeros(0, np.int64)
    for _ in range(rounds):
        nearest = _nearest(fit, centres)
        if np.array_equal(nearest, previous):
            break
        order = np.argsort(nearest, kind="stable")
        present, starts = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(fit[order], starts, axis=0)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        centres[present] = np.where(norms > 0, sums / np.where(norms > 0, norms, 1.0), centres[present])
        previous = nearest
    return _nearest(points, centres)


def _nearest(points: NDArray[Any], centres: NDArray[Any]) -> IntArray:
    nearest = np.empty(len(points), np.int64)
    for start in range(0, len(points), _BLOCK):
        nearest[start : start + _BLOCK] = np.argmax(points[start : start + _BLOCK] @ centres.T, axis=1)
    return nearest
